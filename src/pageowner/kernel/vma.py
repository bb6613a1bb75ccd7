# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every VMA of every mm, as one table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.lists import walk_chains
from pageowner.kernel.maple import read_trees
from pageowner.kernel.mm import Mms
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# include/linux/mm.h; these bits have not moved since 2.6.
VM_READ, VM_WRITE, VM_EXEC, VM_SHARED = 1, 2, 4, 8
VM_MAYSHARE = 0x80  # what /proc/PID/maps shows as "s"
VM_PFNMAP, VM_IO = 0x400, 0x4000
VM_HUGETLB = 0x00400000
VM_MIXEDMAP = 0x10000000

FIELDS: dict[str, tuple[str, ...] | str] = {
    "start": "vm_start",
    "end": "vm_end",
    "owner": "vm_mm",
    "pgoff": "vm_pgoff",
    # 6.3 made it a union with a private writable twin, 7.0 one with a bitmap: the first word is the same.
    "flags": ("vm_flags", "__vm_flags"),
    "file": "vm_file",
    "anon_vma": "anon_vma",
    "ops": "vm_ops",
    "private": "vm_private_data",
}


@dataclass(frozen=True)
class Vmas:
    """All VMAs, ascending by (mm, start).

    ``mm`` int64[n]; ``address`` uint64[n] of the vm_area_struct; ``rows`` structured array (``start`` ``end``
    ``pgoff`` ``flags`` ``file`` ``anon_vma`` ``ops`` ``private``, all uint64). ``broken``: trees or lists not
    read to their end, and entries that were no VMA of their mm.
    """

    mm: I64
    address: U64
    rows: npt.NDArray[Any]
    broken: int

    def __len__(self) -> int:
        return len(self.mm)

    def has(self, flag: int) -> Bools:
        """Which VMAs have any bit of *flag*."""
        mask: Bools = (self.rows["flags"] & np.uint64(flag)) != 0
        return mask

    @cached_property
    def _keys(self) -> U64:
        return _key(self.mm, self.rows["start"])

    def find(self, mm: I64, va: U64) -> I64:
        """The VMA that covers each (mm, va): int64[k], -1 where none does."""
        if not len(self):
            return np.full(len(mm), -1, np.int64)
        at = np.searchsorted(self._keys, _key(mm, va), "right") - 1
        row = np.maximum(at, 0)
        inside = (at >= 0) & (self.mm[row] == mm) & (va < self.rows["end"][row])
        return np.where(inside, at, -1)


def _key(mm: I64, va: U64) -> U64:
    """Sorts by (mm, page): user addresses have at most 56 bits, i.e. 44 of page number."""
    return (mm.astype(np.uint64) << np.uint64(44)) | (va >> np.uint64(12))


def read_vmas(kernel: Kernel, mms: Mms) -> Vmas:
    """The VMAs of all *mms*."""
    dtype = kernel.dtype("struct vm_area_struct", FIELDS)
    mm, address, broken = _find(kernel, mms)
    rows, ok = kernel.gather(address, dtype)
    # Nothing but a VMA points back at the mm that led to it.
    good = ok & (rows["owner"] == mms.address[mm]) & (rows["start"] < rows["end"])
    good &= rows["end"] <= np.uint64(1 << 56)
    keep = np.flatnonzero(good)
    keep = keep[np.lexsort((rows["start"][keep], mm[keep]))]
    return Vmas(mm[keep], address[keep], rows[keep], broken + len(good) - len(keep))


def _find(kernel: Kernel, mms: Mms) -> tuple[I64, U64, int]:
    try:
        root = kernel.offset("struct mm_struct", "mm_mt") + kernel.offset("struct maple_tree", "ma_root")
    except LookupError:
        return _find_by_list(kernel, mms)
    roots, ok = kernel.gather(mms.address + np.uint64(root), np.dtype("<u8"))
    found = read_trees(kernel, roots)
    return found.tree, found.entry, found.broken + int(len(ok) - ok.sum())


def _find_by_list(kernel: Kernel, mms: Mms) -> tuple[I64, U64, int]:
    """Up to 6.0: a list by address, ``mm->mmap`` and ``vma->vm_next``."""
    head = kernel.offset("struct mm_struct", "mmap")
    first, ok = kernel.gather(mms.address + np.uint64(head), np.dtype("<u8"))
    walk = walk_chains(kernel, first, kernel.offset("struct vm_area_struct", "vm_next"), 1 << 26)
    return walk.owner, walk.node, walk.broken + int(len(ok) - ok.sum())
