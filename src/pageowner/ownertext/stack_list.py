# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists of stacks with their pages: ``page_owner_stacks/show_stacks`` (6.9) and ``show_handles`` (6.19)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

import polars as pl

from pageowner.ownertext.chunks import START
from pageowner.ownertext.intern import Tails

_PAGES = re.compile(rb"^nr_base_pages: ([0-9]{1,10})\n", re.MULTILINE)
_STACK = re.compile(
    rb"^((?: [^\n]*\n)*(?:handle: -?[0-9]{1,10}\n)?)nr_base_pages: ([0-9]{1,10})\n(?:\n|\Z)", re.MULTILINE
)
_MOST_BYTES = 256 << 20
"""Of a list; all stacks that a stack depot can hold take less."""


def is_stack_list(head: bytes) -> bool:
    """Whether a text that begins with *head* is such a list, not one of records."""
    return _PAGES.search(head) is not None and START.search(head) is None


def begins(blocks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first of *blocks*, and all of them."""
    rest = iter(blocks)
    first = list(islice(rest, 1))
    return b"".join(first), chain(first, rest)


@dataclass
class StackList:
    """``stacks``: how many were read; ``damaged``: pieces that are none; ``cut_off``: the end is missing."""

    stacks: int = 0
    damaged: int = 0
    cut_off: bool = False
    _rows: list[tuple[int, int]] = field(default_factory=list)

    def read(self, blocks: Iterable[bytes], tails: Tails) -> pl.DataFrame:
        """``stack`` (its number in *tails*) and ``n``, base pages allocated from it and not freed yet."""
        data = _bounded(blocks)
        at = 0
        for found in _STACK.finditer(data):
            self.damaged += bool(data[at : found.start()].strip())
            self._rows.append((tails.number(found[1] + b"\n"), int(found[2])))
            at = found.end()
        self.stacks, self.cut_off = len(self._rows), not data.endswith(b"\n\n")
        self.damaged += bool(data[at:].strip())
        return pl.DataFrame(self._rows, schema={"stack": pl.UInt32, "n": pl.Int64}, orient="row")

    @property
    def problems(self) -> list[str]:
        """A line each; none for a whole list."""
        lines = [f"{self.damaged} parts of the list are no stacks with pages"] if self.damaged else []
        return lines + (["the list is cut off: it does not end with an empty line"] if self.cut_off else [])


def _bounded(blocks: Iterable[bytes]) -> bytes:
    parts, size = [], 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size > _MOST_BYTES:
            break
    return b"".join(parts)
