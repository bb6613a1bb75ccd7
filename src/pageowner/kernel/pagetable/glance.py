# SPDX-License-Identifier: LGPL-2.1-or-later
"""What whole tables of 4 KiB entries give away at a glance, so that most need not be decoded."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pageowner.kernel.pagetable.x86_64 import ENTRIES, PAGE, PTE, STRAY_BITS, X86_64

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

_LAST = ENTRIES - 1
_PAGE = np.uint64(4096)
# Tables that the processor's cache holds while they are looked at.
_AT_ONCE = 64


def linear_tables(arch: X86_64, rows: U64) -> tuple[I64, I64, U8]:
    """Tables, of *rows* uint64[k, 512], that map 512 neighbouring pages with equal bits.

    :returns: which rows, the PFN of each one's first page, and the flags of its run.
    """
    first, last = rows[:, 0] & ~STRAY_BITS, rows[:, _LAST] & ~STRAY_BITS
    maybe = np.flatnonzero((last - first == np.uint64(_LAST) * _PAGE) & (first != 0))
    head, tail = arch.decode(first[maybe], PTE), arch.decode(last[maybe], PTE)
    good = (head.kind == PAGE) & (tail.kind == PAGE) & (head.flags == tail.flags)
    good &= tail.pfn - head.pfn == np.uint64(_LAST)
    at = np.flatnonzero(good)
    at = at[_is_linear(rows, first, maybe[at])]
    return maybe[at], head.pfn[at].astype(np.int64), head.flags[at]


def _is_linear(rows: U64, first: U64, at: I64) -> npt.NDArray[np.bool_]:
    """Which of the tables *at* have every entry one page after the one before, bool[len(at)]."""
    ramp = np.arange(ENTRIES, dtype=np.uint64) * _PAGE
    out = np.empty(len(at), np.bool_)
    for start in range(0, len(at), _AT_ONCE):
        part = at[start : start + _AT_ONCE]
        differs = rows[part]
        differs ^= first[part, None] + ramp
        differs &= ~STRAY_BITS
        out[start : start + _AT_ONCE] = ~differs.any(axis=1)
    return out


def _words() -> U64:
    return np.frombuffer(secrets.token_bytes(8 * ENTRIES), np.uint64)


@dataclass
class Copies:
    """Tables with the same words as one whose group is known, but for accessed and dirty bits.

    Two sums of 64 bits with secret factors stand for the words, as in :class:`Alike`. Only tables of present
    entries are learned; any other differs from them in low bits, which reach all bits of a sum.
    """

    factors: tuple[U64, U64] = field(default_factory=lambda: (_words(), _words()))
    first: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    second: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    group: I64 = field(default_factory=lambda: np.empty(0, np.int64))

    def sums(self, rows: U64) -> tuple[U64, U64]:
        """The two sums of each of *rows*, uint64[k, 512]."""
        words = rows & ~STRAY_BITS
        one, two = (np.einsum("ij,j->i", words, factor) for factor in self.factors)
        return one, two

    def groups(self, sums: tuple[U64, U64]) -> I64:
        """The group of each table, -1 where it is not known."""
        if not len(self.first):
            return np.full(len(sums[0]), -1, np.int64)
        at = np.minimum(np.searchsorted(self.first, sums[0]), len(self.first) - 1)
        same = (self.first[at] == sums[0]) & (self.second[at] == sums[1])
        return np.where(same, self.group[at], -1)

    def learn(self, sums: tuple[U64, U64], group: I64) -> None:
        """Remember the groups of tables."""
        first, at = np.unique(np.concatenate([self.first, sums[0]]), return_index=True)
        self.first = first
        self.second = np.concatenate([self.second, sums[1]])[at]
        self.group = np.concatenate([self.group, group])[at]
