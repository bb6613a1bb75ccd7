# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own page tables, turned round: which page frames its addresses lead to.

The direct map and the image are arithmetic (``__pa()``); vmalloc space, the memmap, per-CPU units and
what else is mapped page by page come from the tables under ``init_top_pgt``, read once, level by level.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pageowner.errors import LayoutError
from pageowner.kernel.pagetable.runs import decode_runs
from pageowner.kernel.pagetable.tables import ENTRIES, TablePages, read_tables
from pageowner.kernel.pagetable.x86_64 import PGD, PTE, X86_64, x86_64
from pageowner.kernel.target import PAGE_SHIFT, PAGE_SIZE, Kernel

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

BATCH = 16384  # table pages read at once, 64 MiB


@dataclass
class KernelMap:
    """Runs of kernel addresses, ascending: ``va`` uint64, ``pfn`` and ``n`` (pages) int64.

    ``tables``: the pages of the tables themselves. Tables that could not be read are counted, not raised.
    """

    kernel: Kernel
    va: U64
    pfn: I64
    n: I64
    tables: TablePages
    unreadable: int = 0

    def between(self, start: int, end: int) -> tuple[U64, I64, I64]:
        """What is mapped in [*start*, *end*), cut to it: (va, pfn, n) of runs."""
        low = int(np.searchsorted(self.va + (self.n.astype(np.uint64) << np.uint64(12)), np.uint64(start), "right"))
        high = int(np.searchsorted(self.va, np.uint64(end), "left"))
        va, pfn, n = self.va[low:high].copy(), self.pfn[low:high].copy(), self.n[low:high].copy()
        if len(va):
            before = max(start - int(va[0]), 0) >> PAGE_SHIFT
            va[0] += np.uint64(before << PAGE_SHIFT)
            pfn[0] += before
            n[0] -= before
            n[-1] = min(int(n[-1]), -(-(end - int(va[-1])) >> PAGE_SHIFT))
        return va, pfn, n

    def pfns(self, addresses: U64) -> I64:
        """PFN of each kernel address; -1 where nothing is mapped."""
        physical, linear = self.kernel.linear_to_phys(addresses)
        out = np.where(linear, (physical >> np.uint64(PAGE_SHIFT)).astype(np.int64), -1)
        rest = np.flatnonzero(~linear)
        if len(rest) and len(self.va):
            at = np.maximum(np.searchsorted(self.va, addresses[rest], "right") - 1, 0)
            page = ((addresses[rest] - self.va[at]) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
            inside = (addresses[rest] >= self.va[at]) & (page < self.n[at])
            out[rest] = np.where(inside, self.pfn[at] + page, -1)
        return out

    def range_runs(self, start: int, size: int) -> tuple[I64, I64]:
        """Runs (pfn, n) of the pages behind *size* bytes at *start*, wherever that lies."""
        if size <= 0 or start <= 0 or start + size > 1 << 64:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        first, pages = start & -PAGE_SIZE, (start + size - 1 >> PAGE_SHIFT) - (start >> PAGE_SHIFT) + 1
        physical, linear = self.kernel.linear_to_phys(np.array([first], np.uint64))
        if linear[0]:
            return np.array([int(physical[0]) >> PAGE_SHIFT]), np.array([pages])
        _, pfn, n = self.between(first, first + pages * PAGE_SIZE)
        return pfn, n


@dataclass
class _Walk:
    """The walk of the upper half of one PGD."""

    kernel: Kernel
    arch: X86_64
    parts: list[tuple[U64, I64, I64]] = field(default_factory=list)
    tables: list[TablePages] = field(default_factory=list)
    unreadable: int = 0

    def run(self, root: int) -> None:
        """Visit all tables under the PGD at PFN *root*."""
        pfn, va = np.array([root], np.int64), np.zeros(1, np.uint64)
        level = PGD
        while len(pfn):
            pieces = [
                self._visit(pfn[at : at + BATCH], va[at : at + BATCH], level)
                for at in range(0, len(pfn), BATCH)
            ]
            if level == PTE:
                return
            pfn = np.concatenate([p for p, _ in pieces])
            va = np.concatenate([v for _, v in pieces])
            # A table met before is read once (KASAN's shadow has millions of references to one).
            pfn, first = np.unique(pfn, return_index=True)
            va, level = va[first], self.arch.child(level)

    def _visit(self, pfn: I64, va: U64, level: int) -> tuple[I64, U64]:
        rows, ok = read_tables(self.kernel.read_phys, pfn)
        self.unreadable += int(len(ok) - ok.sum())
        self.tables.append(TablePages.of(pfn[ok], level, np.full(int(ok.sum()), -1, np.int64)))
        if level == PGD:
            rows[:, : ENTRIES // 2] = 0
        shift = np.uint64(self.arch.shift(level))
        runs = decode_runs(self.arch, rows, level, kernel=True)
        at = va[runs.row] + self._offset(runs.column, shift, level)
        self.parts.append((at, runs.pfn, runs.n << (int(shift) - PAGE_SHIFT)))
        below = va[runs.tables // ENTRIES] + self._offset(runs.tables % ENTRIES, shift, level)
        return runs.table_pfns, below

    def _offset(self, column: I64, shift: np.uint64, level: int) -> U64:
        offset: U64 = column.astype(np.uint64) << shift
        if level == PGD:  # addresses of the upper half are sign-extended
            offset |= np.uint64((1 << 64) - (1 << (self.arch.va_bits + 1)))
        return offset


def read_kernel_map(kernel: Kernel) -> KernelMap:
    """The map under ``init_top_pgt`` (``swapper_pg_dir``).

    :raises LayoutError: when VMCOREINFO does not say where that is.
    """
    symbols = kernel.vmcoreinfo.symbols
    root = symbols.get("init_top_pgt") or symbols.get("swapper_pg_dir")
    if not root:
        raise LayoutError("VMCOREINFO has no SYMBOL(init_top_pgt): the kernel's page tables cannot be found")
    physical, _ = kernel.linear_to_phys(np.array([root], np.uint64))
    walk = _Walk(kernel, x86_64(kernel))
    walk.run(int(physical[0]) >> PAGE_SHIFT)
    va, pfn, n = (np.concatenate(column) for column in zip(*walk.parts, strict=True))
    order = np.argsort(va, kind="stable")
    va, pfn, n = _join(va[order], pfn[order], n[order])
    return KernelMap(kernel, va, pfn, n, TablePages.join(walk.tables), walk.unreadable)


def _join(va: U64, pfn: I64, n: I64) -> tuple[U64, I64, I64]:
    """Neighbouring runs made one."""
    if not len(va):
        return va, pfn, n
    follows = (va[1:] == va[:-1] + (n[:-1].astype(np.uint64) << np.uint64(PAGE_SHIFT))) & (
        pfn[1:] == pfn[:-1] + n[:-1]
    )
    starts = np.concatenate(([0], np.flatnonzero(~follows) + 1))
    return va[starts], pfn[starts], np.add.reduceat(n, starts)


def virt_to_pfns(kernel: Kernel, addresses: U64) -> I64:
    """PFN of each kernel virtual address, direct map, image, vmalloc or other; -1 where nothing is mapped."""
    physical, linear = kernel.linear_to_phys(addresses)
    if linear.all():  # arithmetic alone: no need for the tables
        return (physical >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    return kernel.memo(read_kernel_map).pfns(addresses)
