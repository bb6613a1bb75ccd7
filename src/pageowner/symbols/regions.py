# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which symbol covers an address: the kernel's rule, for many addresses at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

U64s = npt.NDArray[np.uint64]
I64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Region:
    """Addresses that one table of symbols speaks for: the kernel image, a module's text, a BPF program.

    ``values`` (uint64, shape (n,)) and ``names`` are in the table's own order, which decides between aliases.
    """

    start: int
    #: first address behind it
    end: int
    values: U64s
    names: Sequence[str]
    #: nm(1) letters, or empty
    letters: bytes = b""
    #: of the module, "" for others
    module: str = ""


@dataclass
class Others:
    """What is known besides the kernel image."""

    #: asked in this order, as ``kallsyms_lookup_buildid()`` does: modules, BPF, ftrace
    tiers: list[list[Region]] = field(default_factory=list)
    #: one line for each thing that could not be read
    notes: list[str] = field(default_factory=list)


class Span(NamedTuple):
    """The run of addresses from one symbol to the next."""

    name: str
    start: int
    size: int
    #: nm(1) letter, "?" if unknown
    letter: str
    module: str

    def text(self, address: int) -> str:
        """``%pS`` of an *address* in this span."""
        suffix = f" [{self.module}]" if self.module else ""
        return f"{self.name}+0x{address - self.start:x}/0x{self.size:x}{suffix}"


class Spans:
    """All spans of some regions, which must not overlap."""

    def __init__(self, regions: list[Region]) -> None:
        self.regions = sorted(regions, key=lambda region: region.start)
        parts = [_spans_of(region) for region in self.regions]
        self._starts = np.concatenate([p[0] for p in parts] or [np.empty(0, np.uint64)])
        self._sizes = np.concatenate([p[1] for p in parts] or [np.empty(0, np.uint64)])
        self._which = np.concatenate([p[2] for p in parts] or [np.empty(0, np.int64)])
        self._region = np.repeat(np.arange(len(parts)), [len(p[0]) for p in parts])

    def find(self, addresses: U64s) -> I64s:
        """Number of the span that covers each address, or -1; same shape."""
        at = np.searchsorted(self._starts, addresses, "right") - 1
        known = at >= 0
        known[known] = addresses[known] - self._starts[at[known]] < self._sizes[at[known]]
        return np.where(known, at, -1)

    def span(self, number: int) -> Span:
        """Span *number*, as :meth:`find` gave it."""
        region, which = self.regions[self._region[number]], int(self._which[number])
        letter = chr(region.letters[which]) if which < len(region.letters) else "?"
        start, size = int(self._starts[number]), int(self._sizes[number])
        return Span(region.names[which], start, size, letter, region.module)


def _spans_of(region: Region) -> tuple[U64s, U64s, I64s]:
    """Start, size and table index of each distinct symbol address in *region*.

    As in ``get_symbol_pos()`` and ``find_kallsyms_symbol()``: of aliases the first in the table counts, and
    a symbol reaches to the next distinct address, at most to the end of the region.
    """
    values, first = np.unique(region.values, return_index=True)
    low, high = np.searchsorted(values, np.array([region.start, region.end], np.uint64))
    starts = values[low:high]
    sizes = np.diff(starts, append=np.uint64(region.end))
    return starts, sizes, first[low:high].astype(np.int64)
