# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make a mapping store: take runs in any order, pack them at once, sort them at the end."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from pageowner.kernel.mapping import (
    CLASSES,
    GROUP_BITS,
    I64,
    REPEAT,
    SWAP_DTYPE,
    U8,
    U32,
    U64,
    Anys,
    Groups,
    Mappings,
    Tier,
    expand,
)


class MappingBuilder:
    """Takes runs in any order, packs them at once, sorts them at the end.

    :param n_mms: mms are numbered 0 … n_mms - 1; larger numbers are groups of them.
    :param limit: no more runs than this are taken (a corrupt core must not fill our memory); then
        :attr:`full` is true.
    """

    def __init__(self, n_mms: int, va_bits: int = 47, limit: int = 1 << 62) -> None:
        if n_mms > self.most_mms(va_bits):
            raise ValueError(f"more than {self.most_mms(va_bits)} mms")
        self.n_mms = n_mms
        self.va_bits = va_bits
        self.limit = limit
        self.runs = 0
        self._parts: dict[tuple[int, int, int, bool], list[tuple[U32, U64, Anys | None]]] = defaultdict(list)
        self._swaps: list[npt.NDArray[np.void]] = []
        self._members: list[tuple[I64, I64, U64]] = []
        self._once: list[npt.NDArray[np.bool_]] = []

    @staticmethod
    def most_mms(va_bits: int) -> int:
        """How many mms a store for addresses of *va_bits* can number."""
        return 1 << min(64 - (va_bits - 12), 28)

    @property
    def full(self) -> bool:
        return self.runs >= self.limit

    def is_group(self, mm: I64) -> npt.NDArray[np.bool_]:
        return mm >= self.n_mms

    def first_mm(self, mm: I64) -> I64:
        """*mm*, groups replaced by their first member."""
        rows = np.flatnonzero(self.is_group(mm))
        if not len(rows):
            return mm
        groups = self._groups()
        out = mm.copy()
        out[rows] = groups.mm[groups.start[mm[rows] - self.n_mms]]
        return out

    def new_groups(self, count: int, once: bool = False) -> I64:
        """Numbers for *count* new groups; *once*: mapcounts count a group as one mapping."""
        start = self.n_mms + sum(len(part) for part in self._once)
        self._once.append(np.full(count, once, np.bool_))
        return np.arange(start, start + count)

    def join_groups(self, group: I64, mm: I64, va: U64) -> None:
        """Make a table that begins at *va* of *mm* a member of *group*."""
        self._members.append((group - self.n_mms, mm, va))

    def add(self, mm: I64, va: U64, pfn: I64, n: I64, flags: U8) -> None:
        """Runs of *n* pages from *pfn* on, at *va* of *mm* (a group: from the start of its table)."""
        if len(n) and int(n.max()) > CLASSES[-1]:
            mm, va, pfn, n, flags = _split(mm, va, pfn, n, flags)
        self.runs += len(mm)
        length_class = np.searchsorted(np.array(CLASSES), n)
        code = (pfn >> 32 << 16) | (flags.astype(np.int64) << 8) | (length_class << 1) | self.is_group(mm)
        place = self._place(mm, va)
        low = (pfn & 0xFFFFFFFF).astype(np.uint32)
        for key in np.unique(code).tolist():
            rows = np.flatnonzero(code == key)
            longest = CLASSES[(key >> 1) & 7]
            length: Anys | None = None
            if longest > 1:
                length = n[rows].astype(np.uint16 if longest <= 512 else np.uint32)
            tier = (key >> 16 << 32, (key >> 8) & 0xFF, longest, bool(key & 1))
            self._parts[tier].append((low[rows], place[rows], length))

    def _place(self, mm: I64, va: U64) -> U64:
        page = va >> np.uint64(12)
        group = (mm - self.n_mms).astype(np.uint64) << np.uint64(GROUP_BITS)
        single = mm.astype(np.uint64) << np.uint64(self.va_bits - 12)
        place: U64 = np.where(self.is_group(mm), group, single) | page
        return place

    def add_swap(
        self, mm: I64, va: U64, poisoned: npt.NDArray[np.bool_], type_: U8, offset: I64, n: I64
    ) -> None:
        """Runs of swap entries; those of groups are given to the first member (hugetlb is not swapped)."""
        rows = np.zeros(len(mm), SWAP_DTYPE)
        rows["mm"], rows["va"], rows["n"] = self.first_mm(mm), va, n
        rows["type"], rows["offset"], rows["poisoned"] = type_, offset, poisoned
        self.runs += len(rows)
        self._swaps.append(rows)

    def finish(self) -> Mappings:
        """The store; the builder is empty afterwards."""
        tiers = []
        for key in sorted(self._parts):
            tiers.append(_tier(*key, self._parts[key]))
            self._parts[key] = []
        swaps = np.concatenate([np.empty(0, SWAP_DTYPE), *self._swaps])
        swaps = swaps[np.lexsort((swaps["va"], swaps["mm"]))]
        return Mappings(tuple(tiers), self._groups(), swaps, self.va_bits)

    def _groups(self) -> Groups:
        none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64))
        parts = [none, *self._members]
        group, mm, va = (np.concatenate([p[i] for p in parts]) for i in range(3))
        once = np.concatenate([np.empty(0, np.bool_), *self._once])
        order = np.argsort(group, kind="stable")
        start = np.searchsorted(group[order], np.arange(len(once) + 1))
        return Groups(start, mm[order].astype(np.int64), va[order].astype(np.uint64), once)


def _split(mm: I64, va: U64, pfn: I64, n: I64, flags: U8) -> tuple[I64, U64, I64, I64, U8]:
    """The same runs, cut where they are longer than the longest class: neighbouring 1 GiB entries."""
    row, part = expand(np.zeros_like(n), -(-n // CLASSES[-1]))
    skip = part * CLASSES[-1]
    moved = np.where(flags[row] & REPEAT, 0, skip)
    va = va[row] + (skip.astype(np.uint64) << np.uint64(12))
    return mm[row], va, pfn[row] + moved, np.minimum(n[row] - skip, CLASSES[-1]), flags[row]


def _tier(
    base: int, flags: int, longest: int, grouped: bool, parts: list[tuple[U32, U64, Anys | None]]
) -> Tier:
    pfn = np.concatenate([p[0] for p in parts])
    place = np.concatenate([p[1] for p in parts])
    lengths = [p[2] for p in parts if p[2] is not None]
    n = np.concatenate(lengths) if lengths else None
    parts.clear()
    order = np.argsort(pfn)
    return Tier(base, flags, longest, grouped, pfn[order], place[order], None if n is None else n[order])
