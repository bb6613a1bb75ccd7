# SPDX-License-Identifier: LGPL-2.1-or-later
"""Swap areas, and what holds their slots (mm/swapfile.c, mm/shmem.c)."""

from __future__ import annotations

from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.lists import list_structs
from pageowner.kernel.path import Paths
from pageowner.kernel.target import Kernel
from pageowner.kernel.xarray import xarray_entries

U64 = npt.NDArray[np.uint64]
# swp_entry_t, include/linux/swapops.h: SWP_TYPE_SHIFT is BITS_PER_XA_VALUE - MAX_SWAPFILES_SHIFT.
TYPE_SHIFT = 58
OFFSET_MASK = (1 << TYPE_SHIFT) - 1
MAX_SWAPFILES = 32


@dataclass(frozen=True)
class SwapArea:
    """``type``: number of the area; ``path`` of its device or file; ``pages``: its slots."""

    type: int
    path: str
    pages: int


def split_entry(entries: U64) -> tuple[npt.NDArray[np.uint8], U64]:
    """(type, offset) of ``swp_entry_t`` values."""
    kind = (entries >> np.uint64(TYPE_SHIFT)).astype(np.uint8)
    return kind, entries & np.uint64(OFFSET_MASK)


def read_swap_areas(kernel: Kernel) -> dict[int, SwapArea]:
    """The swap areas that are in use, by type."""
    areas = {}
    try:
        table = kernel.object("swap_info")
        count = min(int(kernel.object("nr_swapfiles")), MAX_SWAPFILES)
    except LookupError:
        return {}
    for number in range(count):
        try:
            area = table[number]
            file = int(area.swap_file) if area else 0
            pages = int(area.pages) if area else 0
        except drgn.FaultError:
            continue
        if file:
            path = kernel.memo(Paths).of_files(np.array([file], np.uint64))[0]
            areas[number] = SwapArea(number, path, pages)
    return areas


@dataclass(frozen=True)
class ShmemSwaps:
    """Slots that shmem files hold in the place of pages: ``entry`` (ascending), ``inode``, ``index``."""

    entry: U64
    inode: U64
    index: U64


def read_shmem_swaps(kernel: Kernel) -> ShmemSwaps:
    """What the files on ``shmem_swaplist`` have swapped out."""
    parts: list[tuple[U64, U64, U64]] = [(np.empty(0, np.uint64),) * 3]
    try:
        head = kernel.object("shmem_swaplist").address_of_().value_()
        link = kernel.offset("struct shmem_inode_info", "swaplist")
        inode_at = kernel.offset("struct shmem_inode_info", "vfs_inode")
        pages_at = kernel.offset("struct inode", "i_data.i_pages")
    except LookupError:
        return ShmemSwaps(*parts[0])
    for inode in list_structs(kernel, head, link - inode_at, 1 << 20):
        index, entry = xarray_entries(kernel, inode + pages_at)
        swapped = (entry & np.uint64(1)) != 0  # an xarray value: a page's address is even
        entry = entry[swapped] >> np.uint64(1)
        parts.append((entry, np.full(len(entry), inode, np.uint64), index[swapped]))
    entry, inode_of, index = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(entry, kind="stable")
    return ShmemSwaps(entry[order], inode_of[order], index[order])
