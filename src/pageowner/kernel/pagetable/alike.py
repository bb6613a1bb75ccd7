# SPDX-License-Identifier: LGPL-2.1-or-later
"""Find PTE tables that map the same pages in the same places, whichever process they are of.

Two hundred processes that share one large piece of memory have two hundred sets of tables that say the same;
their runs are stored once, for the group.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pageowner.kernel.pagetable.runs import Runs

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

# Tables of fewer runs cost no more than a group would.
ENOUGH = 64


def _odd() -> np.uint64:
    return np.uint64(secrets.randbits(64) | 1)


@dataclass
class Alike:
    """Groups of tables by what is in them.

    Two sums of 64 bits with secret multipliers stand for the contents: that different tables agree in both
    is less likely than that the computer errs.
    """

    keys: tuple[np.uint64, ...] = field(default_factory=lambda: tuple(_odd() for _ in range(4)))
    known: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    second: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    group: I64 = field(default_factory=lambda: np.empty(0, np.int64))

    def find(self, runs: Runs) -> tuple[I64, U64, U64, I64]:
        """The tables (rows) worth grouping, their two sums, and the group of each, -1 if it is new."""
        start = np.flatnonzero(np.append(True, np.diff(runs.row) != 0)) if len(runs.row) else runs.row
        plain = np.minimum.reduceat(runs.is_page, start) if len(start) else runs.is_page
        count = np.diff(start, append=len(runs.row))
        good = np.flatnonzero((count >= ENOUGH) & plain)
        if not len(good):
            none = np.empty(0, np.uint64)
            return start[:0], none, none, start[:0]
        first, second = self._sums(runs, start)
        first, second = first[good], second[good]
        at = np.minimum(np.searchsorted(self.known, first), max(len(self.known) - 1, 0))
        group = np.full(len(good), -1, np.int64)
        if len(self.known):
            same = (self.known[at] == first) & (self.second[at] == second)
            group[same] = self.group[at[same]]
        return runs.row[start[good]], first, second, group

    def learn(self, first: U64, second: U64, group: I64) -> None:
        """Remember new groups."""
        known = np.concatenate([self.known, first])
        order = np.argsort(known, kind="stable")
        self.known = known[order]
        self.second = np.concatenate([self.second, second])[order]
        self.group = np.concatenate([self.group, group])[order]

    def _sums(self, runs: Runs, start: I64) -> tuple[U64, U64]:
        word = (runs.pfn << 9 | runs.column).astype(np.uint64) * self.keys[0]
        word += (runs.n << 8 | runs.flags).astype(np.uint64) * self.keys[1]
        one = (word ^ (word >> np.uint64(32))) * self.keys[2]
        two = (word ^ (word >> np.uint64(29))) * self.keys[3]
        return np.add.reduceat(one ^ (one >> np.uint64(31)), start), np.add.reduceat(two, start)
