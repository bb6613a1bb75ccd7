# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every address space: those of tasks, and those that no task has any more or yet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.lists import walk_lists
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.kernel.task import Tasks

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

NO_TASK = -1
# page_owner's ts is local_clock(), start_time is CLOCK_MONOTONIC: both start at boot, within a second, but
# the second is steered by NTP, so that they drift apart by up to 500 ppm in theory, some 10 ppm in life.
SLACK_NS = 1_000_000_000
SLACK_SHARE = 10_000  # 100 ppm

FIELDS: dict[str, tuple[str, ...] | str] = {
    "pgd": "pgd",
    "users": "mm_users.counter",
    "count": "mm_count.counter",
    "map_count": "map_count",
    "total_vm": "total_vm",
    "pgtables_bytes": "pgtables_bytes.counter",
}


@dataclass(frozen=True)
class Mms:
    """All address spaces, those of tasks first, by their lowest tgid.

    ``address`` uint64[n] of the mm_struct; ``rows`` structured array (``pgd`` ``users`` ``count``
    ``map_count`` ``total_vm`` ``pgtables_bytes``); ``pgd_pfn`` int64[n], -1 for no direct-map address.
    ``pair_mm``, ``pair_tgid`` int64: which thread groups use which mm, by (mm, tgid); ``pair_start``:
    when the group started, ns. ``broken``: lists not followed to their end; ``unreadable``: mms left out.
    """

    address: U64
    rows: npt.NDArray[Any]
    pgd_pfn: I64
    pair_mm: I64
    pair_tgid: I64
    pair_start: npt.NDArray[np.uint64]
    broken: int
    unreadable: int

    def __len__(self) -> int:
        return len(self.address)

    @cached_property
    def lowest_tgid(self) -> I64:
        """int64[n]: the lowest tgid of each mm, :data:`NO_TASK` for an mm without a task."""
        out = np.full(len(self), NO_TASK, np.int64)
        mm, first = np.unique(self.pair_mm, return_index=True)
        out[mm] = self.pair_tgid[first]
        return out

    @cached_property
    def _by_tgid(self) -> tuple[I64, I64]:
        order = np.argsort(self.pair_tgid, kind="stable")
        return self.pair_tgid[order], order

    def of_tgid(self, tgid: I64, ts: npt.NDArray[np.uint64] | None = None) -> I64:
        """The mm of each *tgid*, int64[k]; -1 if there is no such process, it has no mm, or it started
        after *ts* (ns; uint64[k]): then the pid was given again."""
        tgids, order = self._by_tgid
        if not len(tgids):
            return np.full(len(tgid), -1, np.int64)
        at = np.minimum(np.searchsorted(tgids, tgid), len(tgids) - 1)
        found = tgids[at] == tgid
        row = order[at]
        if ts is not None:
            slack = ts // np.uint64(SLACK_SHARE) + np.uint64(SLACK_NS)
            found &= self.pair_start[row] <= ts + slack
        return np.where(found, self.pair_mm[row], -1)


def read_mms(kernel: Kernel, tasks: Tasks, vmemmap: int | None = None, page_size: int = 64) -> Mms:
    """Every mm.

    :param vmemmap: address of PFN 0's struct page, *page_size* that of one: with them the list of all PGDs
        (x86's ``pgd_list``) gives the mms without a task, too.
    """
    dtype = kernel.dtype("struct mm_struct", FIELDS)
    of_tasks = tasks.rows["mm"]
    others, broken = _from_pgd_list(kernel, dtype, vmemmap, page_size)
    address = np.union1d(of_tasks[of_tasks != 0], others)
    rows, ok = kernel.gather(address, dtype)
    phys, linear = kernel.linear_to_phys(rows["pgd"])
    pfn = np.where(ok & linear & (rows["pgd"] & np.uint64(0xFFF) == 0), phys >> np.uint64(PAGE_SHIFT), -1)
    pairs = _pairs(tasks, address)
    order = _order(address, pairs)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    mm, tgid, start = pairs
    by = np.lexsort((tgid, number[mm]))
    return Mms(
        address[order],
        rows[order],
        pfn.astype(np.int64)[order],
        number[mm][by],
        tgid[by],
        start[by],
        broken,
        int(len(ok) - ok.sum()),
    )


def _pairs(tasks: Tasks, address: U64) -> tuple[I64, I64, npt.NDArray[np.uint64]]:
    """Distinct (index into *address*, tgid) and when the tgid's first thread started.

    A kernel thread that works in a process's memory (``kthread_use_mm()``: vhost until 6.4) is no user of it.
    """
    rows = tasks.rows
    has = np.flatnonzero((rows["mm"] != 0) & ~tasks.is_kthread)
    index = np.searchsorted(address, rows["mm"][has])
    pairs, which = np.unique(
        (index.astype(np.int64) << 32) | rows["tgid"][has].astype(np.int64), return_inverse=True
    )
    start = np.full(len(pairs), np.iinfo(np.uint64).max, np.uint64)
    # A leader that has exited still tells when its group started.
    leader = tasks.leaders
    first = leader[np.searchsorted(rows["tgid"][leader], rows["tgid"][has])]
    np.minimum.at(start, which, rows["start_time"][first].astype(np.uint64))
    return pairs >> 32, pairs & 0xFFFFFFFF, start


def _order(address: U64, pairs: tuple[I64, I64, npt.NDArray[np.uint64]]) -> I64:
    lowest = np.full(len(address), np.iinfo(np.int64).max)
    np.minimum.at(lowest, pairs[0], pairs[1])
    return np.lexsort((address, lowest))


def _from_pgd_list(
    kernel: Kernel, dtype: np.dtype[Any], vmemmap: int | None, page_size: int
) -> tuple[U64, int]:
    """The mms whose PGD is on ``pgd_list``: on x86-64, all but init_mm, efi_mm and the like."""
    none = np.empty(0, np.uint64)
    try:
        head = int(kernel.object("pgd_list").address_of_())
        link, owner = _list_members(kernel)
    except LookupError:
        kernel.notes.append("the kernel has no pgd_list: address spaces without a task are not seen")
        return none, 0
    walk = walk_lists(kernel, np.array([head], np.uint64))
    pages = walk.node - np.uint64(link)
    mms, ok = kernel.gather(pages + np.uint64(owner), np.dtype("<u8"))
    keep = np.flatnonzero(ok & (mms >> np.uint64(63) != 0) & (mms & np.uint64(7) == 0))
    if vmemmap is None:
        return mms[keep], walk.broken
    # Free and reused page structs are told by this: the mm's pgd must be that page.
    rows, ok = kernel.gather(mms[keep], dtype)
    phys, _ = kernel.linear_to_phys(rows["pgd"])
    page = np.uint64(vmemmap) + (phys >> np.uint64(PAGE_SHIFT)) * np.uint64(page_size)
    return mms[keep][ok & (page == pages[keep])], walk.broken


def _list_members(kernel: Kernel) -> tuple[int, int]:
    """Offsets in struct page of the link in pgd_list and of the pointer to the mm."""
    try:
        return kernel.offset("struct ptdesc", "pt_list"), kernel.offset("struct ptdesc", "pt_mm")  # 6.6
    except LookupError:
        return kernel.offset("struct page", "lru"), kernel.offset("struct page", "pt_mm")
