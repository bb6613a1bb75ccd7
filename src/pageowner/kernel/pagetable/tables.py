# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read page-table pages in bulk, and remember which pages are page tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import PAGE_SHIFT, PAGE_SIZE

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
U8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

ENTRIES = PAGE_SIZE // 8
LONGEST = 256  # pages per read
ReadPhys = Callable[[int, int], bytes]

KERNEL_MM = -1  # the "mm index" of the kernel's own tables
# How a table page is part of its mm's tables.
WALKED, SECOND_PGD, DEPOSITED = range(3)


def read_tables(read_phys: ReadPhys, pfns: I64) -> tuple[U64, Bools]:
    """The table pages *pfns* (ascending, unique): uint64[n, 512], and bool[n] readable."""
    rows = np.empty((len(pfns), ENTRIES), np.uint64)
    ok = np.zeros(len(pfns), np.bool_)
    cut = np.flatnonzero(np.diff(pfns) != 1) + 1
    bounds = [0, *cut.tolist(), len(pfns)]
    for start, stop in pairwise(bounds):
        for low in range(start, stop, LONGEST):
            _read_group(read_phys, pfns, low, min(low + LONGEST, stop), rows, ok)
    rows[~ok] = 0
    return rows, ok


def _read_group(read_phys: ReadPhys, pfns: I64, start: int, stop: int, rows: U64, ok: Bools) -> None:
    """Read adjacent tables *start* … *stop* in one go, or halve the group around what faults."""
    todo = [(start, stop)]
    while todo:
        low, high = todo.pop()
        try:
            data = read_phys(int(pfns[low]) << PAGE_SHIFT, (high - low) << PAGE_SHIFT)
        except (drgn.FaultError, OverflowError, ValueError):
            if high - low > 1:
                middle = (low + high) // 2
                todo += [(low, middle), (middle, high)]
            continue
        rows[low:high] = np.frombuffer(data, np.uint64).reshape(-1, ENTRIES)
        ok[low:high] = True


@dataclass
class TablePages:
    """Which pages are page tables, as columns, one row per page.

    ``pfn`` int64; ``level`` uint8 (PTE 1 … PGD 5); ``mm`` int32, the index of an mm, or -1 for the
    kernel's own; ``role`` uint8: WALKED, or not reached by walking: SECOND_PGD, the user half of a PGD under
    page-table isolation, DEPOSITED, a PTE table kept in reserve for the day that a huge page is split.
    A table that several mms share (hugetlb) is there once, under the first of them.
    """

    pfn: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    level: U8 = field(default_factory=lambda: np.empty(0, np.uint8))
    mm: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    role: U8 = field(default_factory=lambda: np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.pfn)

    @staticmethod
    def join(parts: list[TablePages]) -> TablePages:
        """All rows of *parts*, in order."""
        parts = [TablePages(), *parts]
        return TablePages(
            np.concatenate([p.pfn for p in parts]),
            np.concatenate([p.level for p in parts]),
            np.concatenate([p.mm for p in parts]),
            np.concatenate([p.role for p in parts]),
        )

    @staticmethod
    def of(pfn: I64, level: int, mm: I64, role: int = WALKED) -> TablePages:
        """Rows of one *level*."""
        n = len(pfn)
        return TablePages(pfn, np.full(n, level, np.uint8), mm.astype(np.int32), np.full(n, role, np.uint8))
