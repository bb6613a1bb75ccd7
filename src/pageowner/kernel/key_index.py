# SPDX-License-Identifier: LGPL-2.1-or-later
"""From keys to the numbers that they were given, while ever more keys come."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class KeyIndex:
    """Numbers keys 0, 1, … in the order in which they are added.

    A few sorted arrays, each more than twice as long as the next: a million keys that come in thousands of
    portions are sorted some twenty times, not thousands of times.
    """

    def __init__(self) -> None:
        self._levels: list[tuple[U64, I64]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, keys: U64) -> I64:
        """The number of each of *keys*, -1 where it was not added."""
        out = np.full(len(keys), -1, np.int64)
        for known, numbers in self._levels:
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            same = known[at] == keys
            out[same] = numbers[at[same]]
        return out

    def add(self, keys: U64) -> None:
        """Number *keys*, which are distinct and new."""
        if not len(keys):
            return
        order = np.argsort(keys, kind="stable")
        self._levels.append((keys[order], order + self._count))
        self._count += len(keys)
        while len(self._levels) > 1 and len(self._levels[-2][0]) <= 2 * len(self._levels[-1][0]):
            self._merge()

    def _merge(self) -> None:
        (one, of_one), (two, of_two) = self._levels.pop(), self._levels.pop()
        keys = np.concatenate([two, one])
        order = np.argsort(keys, kind="stable")
        self._levels.append((keys[order], np.concatenate([of_two, of_one])[order]))
