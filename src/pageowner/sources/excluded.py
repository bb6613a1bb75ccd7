# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which pages a filter left out of a dump: they existed, unlike the holes that are no memory at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
PAGE = 4096


class Excluded(Protocol):
    """What a dump says of the pages that are not in it."""

    @property
    def count(self) -> int:
        """How many pages were left out."""

    def of(self, pfns: I64) -> Bools:
        """Which of *pfns* were left out."""


@dataclass(frozen=True)
class ExcludedBits:
    """One bit per PFN from PFN 0, lowest bit first, as makedumpfile keeps its bitmaps."""

    bits: npt.NDArray[np.uint8]

    @property
    def count(self) -> int:
        return int(np.bitwise_count(self.bits).sum())

    def of(self, pfns: I64) -> Bools:
        byte = pfns >> 3
        known = (byte >= 0) & (byte < len(self.bits))
        out = np.zeros(len(pfns), np.bool_)
        out[known] = (self.bits[byte[known]] >> (pfns[known] & 7).astype(np.uint8)) & 1
        return out


@dataclass(frozen=True)
class ExcludedRuns:
    """Runs of PFNs, ascending and apart: ``start`` and ``end`` (excluded itself), int64[n]."""

    start: I64
    end: I64

    @property
    def count(self) -> int:
        return int((self.end - self.start).sum())

    def of(self, pfns: I64) -> Bools:
        if not len(self.start):
            return np.zeros(len(pfns), np.bool_)
        at = np.searchsorted(self.start, pfns, side="right") - 1
        return np.asarray((at >= 0) & (pfns < self.end[np.maximum(at, 0)]))


def excluded_runs(ranges: Sequence[tuple[int, int]]) -> ExcludedRuns:
    """The whole pages in *ranges* of physical addresses (end excluded), which may touch or overlap."""
    pages = sorted((-(-low // PAGE), high // PAGE) for low, high in ranges if high // PAGE > -(-low // PAGE))
    merged: list[list[int]] = []
    for low, high in pages:
        if merged and low <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], high)
        else:
            merged.append([low, high])
    bounds = np.array(merged, np.int64).reshape(-1, 2)
    return ExcludedRuns(bounds[:, 0], bounds[:, 1])
