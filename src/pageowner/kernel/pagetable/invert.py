# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read every mm's page tables and turn them round: from page to the addresses that it is mapped at.

Upper levels are read for all mms at once, level by level; the lower two in batches, so that no more than
a few thousand tables are in memory. A table page is read once; what it maps is packed into runs at once.
Nothing in a table is trusted: a pointer to nowhere is counted, one that leads back up is met at most once
per level, and the number of runs is limited. On a live kernel a table may be freed, and be somebody's data,
before it is read: it counts only if its parent still leads to it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pageowner.kernel.mapping import Mappings
from pageowner.kernel.mapping_builder import MappingBuilder
from pageowner.kernel.pagetable.alike import Alike
from pageowner.kernel.pagetable.glance import Copies, linear_tables
from pageowner.kernel.pagetable.runs import Runs, decode_runs
from pageowner.kernel.pagetable.tables import ENTRIES, ReadPhys, TablePages, read_tables
from pageowner.kernel.pagetable.x86_64 import PAGE, PGD, PMD, POISONED, PRESENT_BIT, PTE, X86_64
from pageowner.kernel.target import PAGE_SHIFT

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

BATCH = 4096  # table pages: 16 MiB of them, and some 150 MiB while full ones are decoded
USER_SLOTS = ENTRIES // 2


@dataclass(frozen=True)
class Refs:
    """References to tables of one level: ``pfn`` of the table, index of the ``mm``, ``va`` it starts at, and
    where the reference itself stands: ``parent``, PFN of a table (-1: none), and ``slot`` in it."""

    pfn: I64
    mm: I64
    va: U64
    parent: I64
    slot: I64

    def __len__(self) -> int:
        return len(self.pfn)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> Refs:
        return Refs(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @staticmethod
    def roots(pgds: I64, mms: I64) -> Refs:
        """References to the PGDs at PFNs *pgds* of *mms*."""
        nowhere = np.full(len(pgds), -1)
        return Refs(pgds, mms, np.zeros(len(pgds), np.uint64), nowhere, nowhere)

    @staticmethod
    def join(parts: list[Refs]) -> Refs:
        parts = [Refs.roots(np.empty(0, np.int64), np.empty(0, np.int64)), *parts]
        columns = ([getattr(part, name) for part in parts] for name in Refs.__dataclass_fields__)
        return Refs(*(np.concatenate(column) for column in columns))


@dataclass
class Counts:
    """What did not go as it should: honest numbers for the result."""

    tables: int = 0
    unreadable: int = 0
    """tables whose page could not be read, or whose PFN is no page's"""
    moved: int = 0
    """tables that were taken away while they were read (live)"""
    repeated: int = 0
    """references to a table that was met before and cannot be shared"""
    bad: int = 0
    """entries that no kernel writes"""
    markers: int = 0
    """PTE markers: they map nothing"""
    truncated: bool = False
    """the limit on runs was reached: mappings are missing"""


@dataclass
class Inverter:
    """Reads the tables of many mms into a :class:`MappingBuilder`.

    :param max_pfn: tables lie below it.
    """

    read_phys: ReadPhys
    arch: X86_64
    max_pfn: int
    builder: MappingBuilder
    counts: Counts = field(default_factory=Counts)
    batch: int = BATCH
    only: tuple[int, int] | None = None
    """Pages from the first to below the second PFN: tables of 4 KiB entries that do not lead there are read
    and counted, but what they map is not taken."""
    pages: list[TablePages] = field(default_factory=list)
    progress: Callable[[int], None] = lambda tables: None
    """Told how many tables have been read."""
    live: bool = False
    """Tables come and go while they are read."""
    _alike: Alike = field(default_factory=Alike)
    _copies: Copies = field(default_factory=Copies)
    _sums: tuple[U64, U64] = field(default_factory=lambda: (np.empty(0, np.uint64), np.empty(0, np.uint64)))
    """Those of the tables that are being decoded."""
    _seen: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)

    def run(self, pgds: I64, mms: I64 | None = None) -> None:
        """Invert the tables under the PGDs at PFNs *pgds*, int64[n], of mms 0 … n-1 (or *mms*)."""
        index = np.arange(len(pgds)) if mms is None else mms
        refs = Refs.roots(pgds, index)
        level = PGD
        while level > PMD:
            refs = Refs.join([self._visit(part, level) for part in self._parts(refs, self.batch)])
            level = self.arch.child(level)
        refs = self._share(refs)
        # One PMD table leads to up to 512 PTE tables, but to few in most processes.
        for part in self._parts(refs, max(self.batch // 8, 1)):
            lower = self._visit(part, PMD)
            # Neighbours in memory, whosever they are, are read together.
            lower = lower.take(np.argsort(lower.pfn, kind="stable"))
            for piece in self._parts(lower, self.batch):
                self._visit(piece, PTE)

    def _parts(self, refs: Refs, size: int) -> Iterator[Refs]:
        for start in range(0, len(refs), size):
            if self.builder.full:
                self.counts.truncated = True
                return
            yield refs.take(slice(start, start + size))

    def _visit(self, refs: Refs, level: int) -> Refs:
        """Read the tables *refs*, store what they map, and return the references they hold."""
        refs = self._fresh(refs, level)
        rows, ok = read_tables(self.read_phys, refs.pfn)
        self.counts.tables += int(ok.sum())
        self.counts.unreadable += int(len(ok) - ok.sum())
        if self.live:
            ok &= self._stayed(refs, rows)
            rows[~ok] = 0
        self.progress(self.counts.tables)
        self.pages.append(TablePages.of(refs.pfn[ok], level, self.builder.first_mm(refs.mm[ok])))
        if level == PGD:
            rows[:, USER_SLOTS:] = 0
        if level == PTE and self.only is not None:
            near = np.flatnonzero(leads_to(self.arch, rows, *self.only))
            refs, rows = refs.take(near), rows[near]
        if level == PTE:
            refs, rows = self._glance(refs, rows)
        runs = decode_runs(self.arch, rows, level)
        self.counts.bad += runs.bad
        self.counts.markers += runs.markers
        self._store(refs, runs, level)
        return self._children(refs, runs, level) if level > PTE else refs

    def _glance(self, refs: Refs, rows: U64) -> tuple[Refs, U64]:
        """Store what needs no decoding; the other tables come back."""
        linear, pfn, flags = linear_tables(self.arch, rows)
        pages = np.full(len(linear), ENTRIES, np.int64)
        self.builder.add(refs.mm[linear], refs.va[linear], pfn, pages, flags)
        rest = np.ones(len(refs), np.bool_)
        rest[linear] = False
        refs, rows = refs.take(np.flatnonzero(rest)), rows[rest] if len(linear) else rows
        first, second = self._copies.sums(rows)
        group = self._copies.groups((first, second))
        known = group >= 0
        self.builder.join_groups(group[known], refs.mm[known], refs.va[known])
        self._sums = first[~known], second[~known]
        return refs.take(np.flatnonzero(~known)), rows[~known] if known.any() else rows

    def _stayed(self, refs: Refs, rows: U64) -> npt.NDArray[np.bool_]:
        """Which of *refs* were tables when *rows* was read: their parents still lead there, bool[n].

        An entry is cleared before its table is freed. PGDs have no parent, but all have the kernel's half.
        """
        mask = np.uint64(self.arch.address_mask)
        if not len(refs) or refs.parent[0] < 0:
            image = rows[:, -1] & mask
            values, times = np.unique(image, return_counts=True)
            stayed = image == values[np.argmax(times)] if len(values) else np.ones(0, np.bool_)
        else:
            parents, which = np.unique(refs.parent, return_inverse=True)
            now, _ = read_tables(self.read_phys, parents)
            entry = now[which, refs.slot]
            leads = (entry & mask) >> np.uint64(PAGE_SHIFT) == refs.pfn.astype(np.uint64)
            stayed = leads & ((entry & np.uint64(PRESENT_BIT)) != 0)
        self.counts.moved += int(len(refs) - stayed.sum())
        return np.asarray(stayed)

    def _fresh(self, refs: Refs, level: int) -> Refs:
        """Those of *refs*, by PFN, whose table was not yet met at this level and can be a table."""
        good = (refs.pfn > 0) & (refs.pfn < self.max_pfn)
        self.counts.unreadable += int(len(good) - good.sum())
        refs = refs.take(np.flatnonzero(good))
        unique, first = np.unique(refs.pfn, return_index=True)
        seen = self._seen.setdefault(level, np.zeros((self.max_pfn >> 3) + 1, np.uint8))
        bits = (1 << (unique & 7)).astype(np.uint8)
        new = (seen[unique >> 3] & bits) == 0
        np.bitwise_or.at(seen, unique[new] >> 3, bits[new])
        self.counts.repeated += len(refs) - int(new.sum())
        return refs.take(first[new])

    def _store(self, refs: Refs, runs: Runs, level: int) -> None:
        if level == PTE:
            refs, runs = self._group(refs, runs)
        shift = self.arch.shift(level)
        va = refs.va[runs.row] + (runs.column.astype(np.uint64) << np.uint64(shift))
        pages = runs.n << (shift - 12)
        mm = refs.mm[runs.row]
        page = runs.is_page
        self.builder.add(mm[page], va[page], runs.pfn[page], pages[page], runs.flags[page])
        other = ~page
        if other.any():
            swap = (mm[other], va[other], runs.kind[other] == POISONED, runs.type[other])
            self.builder.add_swap(*swap, runs.pfn[other], pages[other])

    def _group(self, refs: Refs, runs: Runs) -> tuple[Refs, Runs]:
        """Replace large tables by groups of like ones; of a group that is known, the runs are not kept."""
        row, first, second, group = self._alike.find(runs)
        if not len(row):
            return refs, runs
        new = np.flatnonzero(group < 0)
        _, sample, which = np.unique(first[new], return_index=True, return_inverse=True)
        # Equal in the first sum but not in the second: leave those alone.
        alike = second[new][sample][which] == second[new]
        made = self.builder.new_groups(len(sample))
        group[new[alike]] = made[which[alike]]
        self._alike.learn(first[new][sample], second[new][sample], made)
        member = np.flatnonzero(group >= 0)
        self.builder.join_groups(group[member], refs.mm[row[member]], refs.va[row[member]])
        first, second = self._sums
        self._copies.learn((first[row[member]], second[row[member]]), group[member])
        keep = np.ones(len(refs), np.bool_)
        keep[row[member]] = False
        keep[row[new[sample]]] = True
        mm, va = refs.mm.copy(), refs.va.copy()
        mm[row[new[sample]]], va[row[new[sample]]] = made, 0
        return replace(refs, mm=mm, va=va), runs.take(np.flatnonzero(keep[runs.row]))

    def _children(self, refs: Refs, runs: Runs, level: int) -> Refs:
        row, column = runs.tables >> 9, runs.tables & (ENTRIES - 1)
        va = refs.va[row] + (column.astype(np.uint64) << np.uint64(self.arch.shift(level)))
        children = Refs(runs.table_pfns, refs.mm[row], va, refs.pfn[row], column)
        # A shared PMD table holds huge pages only: tables under it would belong to several mms.
        shared = self.builder.is_group(children.mm)
        self.counts.repeated += int(shared.sum())
        return children.take(np.flatnonzero(~shared))

    def _share(self, refs: Refs) -> Refs:
        """Give PMD tables that several references lead to (hugetlb) to a group: read once, of many mms."""
        order = np.argsort(refs.pfn, kind="stable")
        refs = refs.take(order)
        _, first, count = np.unique(refs.pfn, return_index=True, return_counts=True)
        many = count > 1
        if not many.any():
            return refs
        member = np.repeat(many, count)
        groups = self.builder.new_groups(int(many.sum()), once=True)
        self.builder.join_groups(np.repeat(groups, count[many]), refs.mm[member], refs.va[member])
        mm, va = refs.mm[first], refs.va[first]
        mm[many], va[many] = groups, 0
        return replace(refs.take(first), mm=mm, va=va)


def leads_to(arch: X86_64, rows: U64, first: int, end: int) -> npt.NDArray[np.bool_]:
    """Which of the tables *rows*, uint64[k, 512], have an entry for any page *first* <= PFN < *end*, bool[k].

    A few comparisons of whole tables, which is much quicker than to decode them.
    """
    mask, span = np.uint64(arch.address_mask), np.uint64(end - first << PAGE_SHIFT)
    frames = rows & mask
    frames -= np.uint64(first << PAGE_SHIFT)
    row, column = np.nonzero(frames < span)
    found = np.zeros(len(rows), np.bool_)
    found[row[(rows[row, column] & PRESENT_BIT) != 0]] = True
    # The rest is inverted (PROT_NONE) or in a swap entry (migration): rare enough to be decoded.
    present = rows.view(np.uint8)[:, ::8] & np.uint8(PRESENT_BIT)
    row, column = np.nonzero((present == 0) & (rows != 0))
    absent = arch.decode(rows[row, column], PTE)
    near = (absent.kind == PAGE) & (absent.pfn - np.uint64(first) < np.uint64(end - first))
    found[row[near]] = True
    return found


def invert(
    read_phys: ReadPhys,
    arch: X86_64,
    pgds: I64,
    max_pfn: int,
    batch: int = BATCH,
    only: tuple[int, int] | None = None,
    progress: Callable[[int], None] = lambda tables: None,
    live: bool = False,
) -> tuple[Mappings, TablePages, Counts]:
    """All mappings under *pgds*, int64[n] PFNs of the PGDs of mms 0 … n-1 (-1: none).

    :param only: leave out 4 KiB mappings of pages other than these, where a whole table has none of them.
    :param progress: told now and then how many tables have been read.
    :param live: tables come and go meanwhile.
    :returns: the mappings, the pages that are tables, and what went wrong.
    """
    builder = MappingBuilder(len(pgds), va_bits=arch.va_bits, limit=64 * max_pfn + (1 << 20))
    inverter = Inverter(
        read_phys, arch, max_pfn, builder, batch=batch, only=only, progress=progress, live=live
    )
    known = np.flatnonzero(pgds >= 0)
    inverter.run(pgds[known], known)
    return builder.finish(), TablePages.join(inverter.pages), inverter.counts

