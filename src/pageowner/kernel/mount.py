# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mounts: where each superblock can be reached (fs/mount.h, fs/namespace.c)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.lists import walk_chains, walk_lists
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
_MOUNT = "struct mount"
MOST_MOUNTS = 1 << 20


@dataclass(frozen=True)
class Mounts:
    """All mounts that user space can see, those of pid 1's namespace first, then by mnt_id.

    ``rows``: structured array with ``address``, ``parent`` (mounts), ``mountpoint`` (a dentry in the parent),
    ``root`` (the dentry that is shown), ``sb``, ``ns``, ``id``, ``devname`` (address of a string).
    """

    rows: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def by_address(self) -> dict[int, int]:
        """Row of each mount."""
        return {int(address): row for row, address in enumerate(self.rows["address"])}

    @cached_property
    def by_root(self) -> dict[int, int]:
        """Row of the first mount that shows each root dentry."""
        return {int(root): row for row, root in reversed(list(enumerate(self.rows["root"].tolist())))}


def read_mounts(kernel: Kernel) -> Mounts:
    """Every mount of every superblock that is in a mount namespace."""
    link = kernel.offset("struct super_block", "s_list")
    head = kernel.object("super_blocks").address_of_().value_()
    supers = walk_lists(kernel, np.array([head], np.uint64)).node - np.uint64(link)
    mounts = np.unique(_of_super_blocks(kernel, supers))
    fields: dict[str, tuple[str, ...] | str] = {
        "parent": "mnt_parent",
        "mountpoint": "mnt_mountpoint",
        "root": "mnt.mnt_root",
        "sb": "mnt.mnt_sb",
        "ns": "mnt_ns",
        "id": "mnt_id",
        "devname": "mnt_devname",
    }
    found, ok = kernel.gather(mounts, kernel.dtype(_MOUNT, fields))
    # The kernel's own mounts (shm_mnt, pipe_mnt, …) are in none (NULL or an error pointer).
    seen = ok & (found["ns"] != 0) & (found["ns"] < np.uint64((1 << 64) - 4096))
    kinds = [("address", "<u8"), *((name, found.dtype[name]) for name in fields)]
    rows = np.zeros(int(seen.sum()), np.dtype(kinds))
    rows["address"] = mounts[seen]
    for name in fields:
        rows[name] = found[name][seen]
    first = _namespace_of_init(kernel)
    return Mounts(rows[np.lexsort((rows["id"], rows["ns"] != np.uint64(first)))])


def _of_super_blocks(kernel: Kernel, supers: U64) -> U64:
    """Addresses of the mounts of *supers*."""
    heads = supers + np.uint64(kernel.offset("struct super_block", "s_mounts"))
    try:
        next_offset = kernel.offset(_MOUNT, "mnt_next_for_sb")
    except LookupError:
        nodes = walk_lists(kernel, heads, MOST_MOUNTS).node
        return nodes - np.uint64(kernel.offset(_MOUNT, "mnt_instance"))
    # 6.18: a chain of mounts, which a lock bit may mark
    first, ok = kernel.gather(heads, np.dtype("<u8"))
    return walk_chains(kernel, np.where(ok, first & ~np.uint64(1), 0), next_offset, MOST_MOUNTS).node


def _namespace_of_init(kernel: Kernel) -> int:
    """The mount namespace of pid 1, which started with the kernel's own."""
    try:
        return int(kernel.object("init_task").nsproxy.mnt_ns)
    except (LookupError, AttributeError, drgn.FaultError):
        return 0
