# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the checks look at, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pageowner.kernel.folio import FolioCounts
from pageowner.kernel.mapping import GIGANTIC, HUGE, Mappings
from pageowner.kernel.memmap import Heads, Pages
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.layers.base import Band
from pageowner.snapshot.scan import Scan, SectionScan, Unknown
from pageowner.snapshot.stability import OWN
from pageowner.snapshot.stability import REASON as CHANGED

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Findings:
    """What one check found: ``pfn`` int64[n] (-1 for what is no page), and ``text`` of row i, which says what
    contradicts what. Texts are made when they are printed."""

    check: str
    pfn: I64
    text: Callable[[int], str]


def nothing(check: str) -> Findings:
    """No finding."""
    return Findings(check, np.empty(0, np.int64), lambda _: "")


class View:
    """One section under check; what several checks need is worked out once."""

    def __init__(self, scan: Scan, section: SectionScan) -> None:
        self.scan, self.kernel, self.section = scan, scan.kernel, section

    @property
    def pages(self) -> Pages:
        return self.section.pages

    @property
    def heads(self) -> Heads:
        return self.section.pages.heads

    @property
    def start(self) -> int:
        return self.section.pages.section.start

    @property
    def n(self) -> int:
        return self.section.pages.section.n

    @cached_property
    def local(self) -> npt.NDArray[np.intp]:
        """Rows of the heads that lie in this section: the others are looked at in theirs."""
        return np.flatnonzero(self.heads.pfn >= self.start)

    @cached_property
    def mapcounts(self) -> npt.NDArray[np.int32]:
        """``folio_mapcount()`` per head, as stored; 0 where the word is used for something else."""
        counts = FolioCounts(self.kernel).mapcounts(self.pages)
        # Until 6.10 zsmalloc keeps an offset in _mapcount, and no page type tells.
        return np.where(self.of_words("ZSMALLOC_PAGE"), 0, counts).astype(np.int32)

    def of_words(self, *words: str) -> Bools:
        """Heads whose first page in the section is owned by one of these layers."""
        numbers = [run.number for run in self.scan.runs if run.word in words]
        at = np.maximum(self.heads.pfn - self.start, 0)
        return np.isin(self.section.layer[at], numbers)

    @cached_property
    def counted(self) -> Counted:
        """How often the page tables map each page."""
        return Counted.of(self.kernel.memo(read_process_memory).mappings, self.start, self.n)

    @cached_property
    def changed(self) -> I64:
        """PFNs of the section whose pages were not the same before, while and after they were read, or that
        this very process maps: it goes on while it looks."""
        own = self.kernel.own_pages() if self.kernel.own_pages is not None else np.empty(0, np.int64)
        own = own[(own >= self.start) & (own < self.start + self.n)]
        unknown = self.scan.unknown
        table = self.section.claims.get(unknown.number)
        if table is None or not isinstance(unknown.layer, Unknown):
            return own
        keys = [key for key, reason in enumerate(unknown.layer.reasons) if reason in (CHANGED, OWN)]
        mine = np.flatnonzero(self.section.layer == unknown.number)
        return np.union1d(own, mine[np.isin(table.key[self.section.claim[mine]], keys)] + self.start)

    @cached_property
    def free(self) -> Bools:
        """Pages that nobody owns, bool[n]: in the buddy allocator or on a per-CPU list."""
        numbers = [run.number for run in self.scan.runs if run.layer.band == Band.FREE]
        return np.isin(self.section.layer, numbers)

    def head_of(self, at: I64) -> I64:
        """Row of the head of each page *at* (offsets in the section)."""
        return self.pages.head[at].astype(np.int64)

    def word(self, at: int) -> str:
        """The word of the layer that owns the page at offset *at*."""
        return self.scan.by_number(int(self.section.layer[at])).word

    def mapped_by(self, pfn: int) -> str:
        """``pid 98 (a.out) at 0x…`` of one process that maps page *pfn*, and how many more."""
        memory: ProcessMemory = self.kernel.memo(read_process_memory)
        found = memory.mappings.of_blocks(np.array([pfn]), np.array([1]))
        if not len(found):
            return "nobody"
        row = int(np.lexsort((found.va, found.mm))[0])
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        return f"{memory.name(int(found.mm[row]))} at 0x{int(found.va[row]):x}{more}"


@dataclass(frozen=True)
class Counted:
    """Page-table entries per page of a section, int32[n]: those of 4 KiB, and those of huge pages, which
    count on each page that they cover. Special and migration entries are not among them."""

    small: npt.NDArray[np.int32]
    huge: npt.NDArray[np.int32]
    gigantic: npt.NDArray[np.int32]

    @staticmethod
    def of(mappings: Mappings, start: int, n: int) -> Counted:
        counts = []
        for size in (0, HUGE, GIGANTIC):
            tiers = tuple(t for t in mappings.tiers if t.flags & (HUGE | GIGANTIC) == size)
            counts.append(replace(mappings, tiers=tiers).mapcounts(start, n))
        return Counted(*counts)

    @property
    def total(self) -> npt.NDArray[np.int32]:
        return self.small + self.huge + self.gigantic


SectionCheck = Callable[[View], Iterator[Findings]]
ScanCheck = Callable[[Scan], Iterator[Findings]]
