# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own page tables: what vmalloc, vmemmap, module and fixmap addresses lead to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.errors import LayoutError
from pageowner.kernel.pagetable.invert import BATCH
from pageowner.kernel.pagetable.runs import Runs, decode_runs
from pageowner.kernel.pagetable.tables import KERNEL_MM, ReadPhys, TablePages, read_tables
from pageowner.kernel.pagetable.x86_64 import PGD, PTE, X86_64, x86_64
from pageowner.kernel.target import PAGE_SHIFT, START_KERNEL_MAP, Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

TIB = 1 << 40
TOP = 1 << 64
# Documentation/arch/x86/x86_64/mm.rst: sizes with 4 and 5 levels; the bases move with KASLR.
VMALLOC_SIZE = {4: 32 * TIB, 5: 12800 * TIB}
VMEMMAP_SIZE = {4: TIB, 5: 512 * TIB}
CPU_ENTRY_AREA = (0xFFFFFE0000000000, 0xFFFFFE8000000000)
# The fixmap ends below the last 2 MiB, and so do all mappings.
KERNEL_IMAGE_SIZE = 1 << 30


@dataclass(frozen=True)
class KernelMappings:
    """Runs of kernel addresses, ascending by ``va``: uint64[n]; ``pfn``, ``n`` int64[n], in pages.

    ``tables``: the pages of the tables, those of the direct map included. ``unreadable``: tables that were.
    """

    va: U64
    pfn: I64
    n: I64
    tables: TablePages
    unreadable: int

    def within(self, start: int, end: int) -> KernelMappings:
        """The runs in [start, end), cut to it."""
        size = self.n.astype(np.uint64) << np.uint64(PAGE_SHIFT)
        last = self.va + (size - np.uint64(1))
        rows = np.flatnonzero((last >= np.uint64(start)) & (self.va <= np.uint64(end - 1)))
        low = np.maximum(self.va[rows], np.uint64(start))
        high = np.minimum(last[rows], np.uint64(end - 1))
        skip = ((low - self.va[rows]) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
        pages = ((high - low) >> np.uint64(PAGE_SHIFT)).astype(np.int64) + 1
        return KernelMappings(low, self.pfn[rows] + skip, pages, self.tables, self.unreadable)

    def find(self, addresses: U64) -> I64:
        """PFNs of *addresses*, int64[k], -1 where nothing is mapped."""
        if not len(self.va):
            return np.full(len(addresses), -1, np.int64)
        at = np.searchsorted(self.va, addresses, "right") - 1
        row = np.maximum(at, 0)
        page = ((addresses - self.va[row]) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
        return np.where((at >= 0) & (page < self.n[row]), self.pfn[row] + page, -1)


def kernel_ranges(kernel: Kernel) -> list[tuple[int, int]]:
    """Where the kernel maps what is not found by arithmetic: vmalloc, vmemmap, CPU entry area, modules,
    fixmap. [start, end), ascending."""
    image_size = kernel.number("KERNEL_IMAGE_SIZE") or KERNEL_IMAGE_SIZE
    ranges = [CPU_ENTRY_AREA, (START_KERNEL_MAP + image_size, TOP - 1)]
    for name, sizes in (("vmalloc_base", VMALLOC_SIZE), ("vmemmap_base", VMEMMAP_SIZE)):
        try:
            base = int(kernel.object(name))
        except LookupError:
            continue  # without DYNAMIC_MEMORY_LAYOUT these are constants, and KASLR leaves them alone
        ranges.append((base, min(base + sizes[kernel.paging_levels], CPU_ENTRY_AREA[0])))
    return sorted(ranges)


def kernel_mappings(kernel: Kernel, ranges: list[tuple[int, int]] | None = None) -> KernelMappings:
    """All mappings of *ranges* (by default :func:`kernel_ranges`) in the kernel's own page tables.

    :raises LayoutError: when the kernel's top-level table cannot be found.
    """
    max_pfn = int(kernel.object("max_pfn"))
    ranges = kernel_ranges(kernel) if ranges is None else ranges
    return _Walker(kernel.read_phys, x86_64(kernel), max_pfn, ranges).run(_root(kernel))


def _root(kernel: Kernel) -> int:
    """PFN of the PGD (``init_top_pgt``, alias ``swapper_pg_dir``), which lies in the image."""
    symbols = kernel.vmcoreinfo.symbols
    address = symbols.get("init_top_pgt") or symbols.get("swapper_pg_dir")
    if not address:
        raise LayoutError("VMCOREINFO has no SYMBOL(swapper_pg_dir): the kernel's page tables are not found")
    phys, linear = kernel.linear_to_phys(np.array([address], np.uint64))
    if not linear[0]:
        raise LayoutError("the kernel's page tables are not in the kernel image: VMCOREINFO is damaged")
    return int(phys[0]) >> PAGE_SHIFT


@dataclass
class _Walker:
    read_phys: ReadPhys
    arch: X86_64
    max_pfn: int
    ranges: list[tuple[int, int]]
    unreadable: int = 0

    def run(self, root: int) -> KernelMappings:
        pfn, va = np.array([root], np.int64), np.array([0], np.uint64)
        level = PGD
        pages: list[TablePages] = []
        runs: list[tuple[U64, I64, I64]] = []
        while level >= PTE and len(pfn):
            pfn, va = self._fresh(pfn, va)
            below = []
            for start in range(0, len(pfn), BATCH):
                part = slice(start, start + BATCH)
                children, leaves = self._visit(pfn[part], va[part], level, pages)
                below.append(children)
                runs.append(leaves)
            pfn, va = (np.concatenate([b[i] for b in below]) for i in (0, 1))
            level = self.arch.child(level)
        return self._join(runs, TablePages.join(pages))

    def _fresh(self, pfn: I64, va: U64) -> tuple[I64, U64]:
        """Each table once: KASAN's shadow and the ESPFIX area use one table many times."""
        good = np.flatnonzero((pfn > 0) & (pfn < self.max_pfn))
        self.unreadable += len(pfn) - len(good)
        unique, first = np.unique(pfn[good], return_index=True)
        return unique, va[good][first]

    def _visit(
        self, pfn: I64, va: U64, level: int, pages: list[TablePages]
    ) -> tuple[tuple[I64, U64], tuple[U64, I64, I64]]:
        rows, ok = read_tables(self.read_phys, pfn)
        self.unreadable += int(len(ok) - ok.sum())
        pages.append(TablePages.of(pfn[ok], level, np.full(int(ok.sum()), KERNEL_MM)))
        if level == PGD:
            rows[:, : rows.shape[1] // 2] = 0
        found = decode_runs(self.arch, rows, level, kernel=True)
        table = self._address(va, found.tables // 512, found.tables % 512, level)
        return (found.table_pfns, table), self._leaves(va, found, level)

    def _address(self, va: U64, row: I64, column: I64, level: int) -> U64:
        out = va[row] + (column.astype(np.uint64) << np.uint64(self.arch.shift(level)))
        if level == PGD:  # canonical: the sign goes on to the top
            out |= np.uint64(TOP - (1 << (self.arch.va_bits + 1)))
        return out

    def _leaves(self, va: U64, found: Runs, level: int) -> tuple[U64, I64, I64]:
        start = self._address(va, found.row, found.column, level)
        n = found.n << (self.arch.shift(level) - PAGE_SHIFT)
        last = start + ((n - 1).astype(np.uint64) << np.uint64(PAGE_SHIFT))
        keep = np.zeros(len(start), np.bool_)
        for low, high in self.ranges:
            keep |= (last >= np.uint64(low)) & (start < np.uint64(high))
        return start[keep], found.pfn[keep], n[keep]

    def _join(self, runs: list[tuple[U64, I64, I64]], tables: TablePages) -> KernelMappings:
        """Runs by address, those that follow each other in address and PFN made one."""
        va, pfn, n = (np.concatenate([r[i] for r in runs]) for i in range(3))
        order = np.argsort(va)
        va, pfn, n = va[order], pfn[order], n[order]
        joined = va[1:] - va[:-1] == n[:-1].astype(np.uint64) << np.uint64(PAGE_SHIFT)
        joined &= pfn[1:] - pfn[:-1] == n[:-1]
        start = np.flatnonzero(np.append(True, ~joined)) if len(va) else np.empty(0, np.int64)
        total = np.add.reduceat(n, start) if len(va) else n
        return KernelMappings(va[start], pfn[start], total, tables, self.unreadable)


def virt_to_pfns(kernel: Kernel, addresses: U64) -> I64:
    """PFNs of kernel virtual *addresses*, uint64[k] -> int64[k]; -1 where nothing is mapped.

    The direct map and the image by arithmetic, all else from the page tables, which are read once.
    """
    addresses = np.asarray(addresses, np.uint64)
    phys, linear = kernel.linear_to_phys(addresses)
    out = np.where(linear, (phys >> np.uint64(PAGE_SHIFT)).astype(np.int64), -1)
    other = np.flatnonzero(~linear & (addresses >> np.uint64(63) != 0))
    if len(other):
        out[other] = kernel.memo(kernel_mappings).find(addresses[other])
    return out
