# SPDX-License-Identifier: LGPL-2.1-or-later
"""The mapping store: which mm has which page at which address, in runs, sorted by page.

One run takes 12 to 16 bytes, and 12 if it is a single page. So that little is possible because runs that
have something in common lie in one :class:`Tier`, which knows that once: flags, length class, the upper half
of the PFN. In a tier no run is more than eight times as long as another, so that all runs which overlap a
page stand close together in the order by PFN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]
Anys = npt.NDArray[np.unsignedinteger[Any]]

# Flags of a run. The first five are the page-table decoder's.
SPECIAL = 1
"""the kernel does not count it as a mapping: PFNMAP, MIXEDMAP, the zero pages"""
MIGRATING = 2
"""a migration entry: the page is logically mapped, its mapcount has been dropped"""
HUGE = 4
"""2 MiB entries"""
GIGANTIC = 8
"""1 GiB entries"""
DEVICE = 16
"""an entry for device-private memory"""
REPEAT = 32
"""n addresses that all map the one page (the zero page, mostly)"""

# Longest run of each length class; 2^18 pages are what one 1 GiB entry maps.
CLASSES = (1, 8, 64, 512, 1 << 18)
ROWS_AT_ONCE = 1 << 20
# Pages under one PMD table, the largest table that is shared.
GROUP_BITS = 18

SWAP_DTYPE = np.dtype(
    [("mm", "<u4"), ("n", "<u4"), ("va", "<u8"), ("offset", "<u8"), ("type", "u1"), ("poisoned", "?")]
)
"""A run of swap entries: *n* addresses from ``va`` on hold slots ``offset`` … of swap area ``type``; of
``poisoned`` ones (the page had a memory failure) ``offset`` is the PFN."""


@dataclass(frozen=True)
class Overlaps:
    """Runs that overlap blocks, cut to them: one row per (block, run, mm), in no particular order.

    ``block`` int64: index of the block; ``pfn``, ``n`` int64; ``mm`` int64; ``va`` uint64; ``flags`` uint8.
    A run with REPEAT has ``n`` 1, and ``repeat`` addresses from ``va`` on (1 in all other rows).
    """

    block: I64
    pfn: I64
    n: I64
    mm: I64
    va: U64
    flags: U8
    repeat: I64

    def __len__(self) -> int:
        return len(self.block)

    def take(self, rows: npt.NDArray[np.int64]) -> Overlaps:
        return Overlaps(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Groups:
    """Tables that several mms share: group g is of rows ``start[g]`` … ``start[g+1]`` of ``mm`` and ``va``,
    the address where the table begins; ``once``: the table page itself is shared, so mapcounts count it once.
    """

    start: I64
    mm: I64
    va: U64
    once: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.once)

    def count(self, group: I64) -> I64:
        return self.start[group + 1] - self.start[group]


@dataclass(frozen=True)
class Tier:
    """Runs with the same flags, length class and upper PFN bits, ascending by PFN.

    ``n`` is None when each is one page. ``place`` packs the mm and the page number of the address; in a
    tier of groups, the group and the page within its table.
    """

    base: int
    flags: int
    longest: int
    grouped: bool
    pfn: U32
    place: U64
    n: Anys | None

    @property
    def reach(self) -> int:
        """No run covers more pages than this."""
        return 1 if self.flags & REPEAT else self.longest

    @property
    def nbytes(self) -> int:
        return self.pfn.nbytes + self.place.nbytes + (0 if self.n is None else self.n.nbytes)

    def between(self, start: I64, end: I64) -> tuple[I64, I64]:
        """For each [start, end) of PFNs, the range of runs that may overlap it."""
        low = np.clip(start - self.base - (self.reach - 1), 0, 1 << 32)
        high = np.clip(end - self.base, 0, 1 << 32)
        # Against uint32, so that numpy does not convert the large array.
        return _search(self.pfn, low), _search(self.pfn, high)

    def part(self, start: int, end: int) -> Tier:
        """The runs that may overlap PFNs *start* … *end*, without copying."""
        bounds = (start - self.base - (self.reach - 1), end - self.base)
        rows = slice(*(_search_one(self.pfn, bound) for bound in bounds))
        n = None if self.n is None else self.n[rows]
        return replace(self, pfn=self.pfn[rows], place=self.place[rows], n=n)

    def lengths(self, rows: I64) -> I64:
        """Entries of the runs *rows*."""
        return np.ones(len(rows), np.int64) if self.n is None else self.n[rows].astype(np.int64)


def _search(pfns: U32, keys: I64) -> I64:
    found = np.searchsorted(pfns, np.minimum(keys, (1 << 32) - 1).astype(np.uint32))
    return np.where(keys >= 1 << 32, len(pfns), found)


def _search_one(pfns: U32, key: int) -> int:
    return int(pfns.searchsorted(np.uint32(max(key, 0)))) if key < 1 << 32 else len(pfns)


@dataclass(frozen=True)
class Mappings:
    """All mappings of all mms; made by :class:`pageowner.kernel.mapping_builder.MappingBuilder`.

    ``swaps``: array of :data:`SWAP_DTYPE`, by mm and address. ``va_bits``: bits of a user address.
    """

    tiers: tuple[Tier, ...]
    groups: Groups
    swaps: npt.NDArray[np.void]
    va_bits: int

    @property
    def nbytes(self) -> int:
        """Bytes that the store takes."""
        groups = self.groups.start.nbytes + self.groups.mm.nbytes + self.groups.va.nbytes
        return sum(tier.nbytes for tier in self.tiers) + groups + self.swaps.nbytes

    @property
    def runs(self) -> int:
        return sum(len(tier.pfn) for tier in self.tiers)

    def mapped_pages(self) -> int:
        """How many (mm, address) pairs of one page each are mapped."""
        total = 0
        for tier in self.tiers:
            rows = _all(tier)
            total += int((tier.lengths(rows) * self._times(tier, rows, False)).sum())
        return total

    def mapcounts(self, start: int, n: int) -> npt.NDArray[np.int32]:
        """How often each of the pages *start* … *start* + *n* is mapped, int32[n].

        As the kernel counts: entries of huge pages count for each of their pages; SPECIAL and MIGRATING
        entries do not count; a table page that several mms share counts once.
        """
        ends = np.zeros(n + 1, np.int64)
        for tier in self.tiers:
            if tier.flags & (SPECIAL | MIGRATING):
                continue
            low, high = tier.between(np.array([start]), np.array([start + n]))
            for first in range(int(low[0]), int(high[0]), ROWS_AT_ONCE):
                rows = np.arange(first, min(first + ROWS_AT_ONCE, int(high[0])))
                ends += self._ends(tier, rows, start, n)
        return np.cumsum(ends)[:n].astype(np.int32)

    def _ends(self, tier: Tier, rows: I64, start: int, n: int) -> I64:
        """By how much mapcounts change from one page to the next, for the runs *rows*: int64[n + 1]."""
        first = tier.pfn[rows].astype(np.int64) + (tier.base - start)
        times, length = self._times(tier, rows, True), tier.lengths(rows)
        if tier.flags & REPEAT:
            times, length = times * length, np.ones_like(length)
        up = np.bincount(np.clip(first, 0, n), times, n + 1)
        down = np.bincount(np.clip(first + length, 0, n), times, n + 1)
        return (up - down).astype(np.int64)

    def part(self, start: int, end: int) -> Mappings:
        """Only the runs that may overlap PFNs *start* … *end*, without copying; swap entries as they are."""
        near = (tier.part(start, end) for tier in self.tiers)
        return replace(self, tiers=tuple(tier for tier in near if len(tier.pfn)))

    def candidates(self, pfn: I64, n: I64) -> I64:
        """An upper bound, per block, of the rows that :meth:`of_blocks` works on: to cut work into pieces."""
        total = np.zeros(len(pfn), np.int64)
        for tier in self.tiers:
            low, high = tier.between(pfn, pfn + n)
            if tier.grouped and len(tier.pfn):
                sizes = np.concatenate(([0], np.cumsum(self._times(tier, _all(tier), False))))
                total += sizes[high] - sizes[low]
            else:
                total += high - low
        return total

    def of_blocks(self, pfn: I64, n: I64) -> Overlaps:
        """All runs that overlap the blocks [pfn, pfn + n), int64[k] each, cut to the blocks."""
        if not len(pfn):
            return _empty()
        # Blocks are of one section, mostly: a narrow part of each tier.
        near = self.part(int(pfn.min()), int((pfn + n).max()))
        parts = [self._of_tier(tier, pfn, pfn + n) for tier in near.tiers]
        return _join([*parts, _empty()])

    def _of_tier(self, tier: Tier, start: I64, end: I64) -> Overlaps:
        low, high = tier.between(start, end)
        block, rows = expand(low, high)
        first = tier.pfn[rows].astype(np.int64) + tier.base
        length = tier.lengths(rows)
        pages = np.ones_like(length) if tier.flags & REPEAT else length
        keep = np.flatnonzero(first + pages > start[block])
        block, rows, first, length, pages = block[keep], rows[keep], first[keep], length[keep], pages[keep]
        cut = np.maximum(start[block] - first, 0)
        pages = np.minimum(first + pages, end[block]) - first - cut
        repeat = length if tier.flags & REPEAT else np.ones_like(length)
        flags = np.full(len(rows), tier.flags, np.uint8)
        which, mm, va = self._places(tier, rows)
        va = va + (cut[which].astype(np.uint64) << np.uint64(12))
        return Overlaps(
            block[which], (first + cut)[which], pages[which], mm, va, flags[which], repeat[which]
        )

    def _places(self, tier: Tier, rows: I64) -> tuple[I64, I64, U64]:
        """(index into *rows*, mm, va) of all places of the runs *rows*: one each, but for groups."""
        place = tier.place[rows]
        if not tier.grouped:
            bits = np.uint64(self.va_bits - 12)
            page = place & ((np.uint64(1) << bits) - np.uint64(1))
            return np.arange(len(rows)), (place >> bits).astype(np.int64), page << np.uint64(12)
        group = (place >> np.uint64(GROUP_BITS)).astype(np.int64)
        which, member = expand(self.groups.start[group], self.groups.start[group + 1])
        page = place[which] & np.uint64((1 << GROUP_BITS) - 1)
        return which, self.groups.mm[member], self.groups.va[member] + (page << np.uint64(12))

    def _times(self, tier: Tier, rows: I64, as_counted: bool) -> I64:
        """How many mappings each of the runs *rows* stands for."""
        if not tier.grouped:
            return np.ones(len(rows), np.int64)
        group = (tier.place[rows] >> np.uint64(GROUP_BITS)).astype(np.int64)
        times = self.groups.count(group)
        return np.where(self.groups.once[group], 1, times) if as_counted else times


def expand(low: I64, high: I64) -> tuple[I64, I64]:
    """All integers of the ranges [low, high), and the index of the range that each is of."""
    counts = np.maximum(high - low, 0)
    which = np.repeat(np.arange(len(low)), counts)
    starts = np.cumsum(counts) - counts
    return which, np.arange(len(which)) - starts[which] + low[which]


def pieces(counts: I64, limit: int) -> Iterator[slice]:
    """Cut blocks into slices whose *counts* sum to about *limit* at most (one block may be more)."""
    total = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = int(total[start - 1]) if start else 0
        stop = max(int(np.searchsorted(total, done + limit, "right")), start + 1)
        yield slice(start, stop)
        start = stop


def _all(tier: Tier) -> I64:
    return np.arange(len(tier.pfn))


def _empty() -> Overlaps:
    none = np.empty(0, np.int64)
    return Overlaps(none, none, none, none, np.empty(0, np.uint64), np.empty(0, np.uint8), none)


def _join(parts: list[Overlaps]) -> Overlaps:
    names = Overlaps.__dataclass_fields__
    return Overlaps(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
