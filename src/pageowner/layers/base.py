# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a layer is: the part of the kernel that speaks for its own pages.

This module is the whole interface; the built-in layers use nothing else. A layer claims pages in one
or both of two ways:

* *page → owner* (:meth:`Layer.select`): the struct page leads to the owner (slab, file, anon);
* *owner → page* (:meth:`Layer.walk`): the owner is enumerated and lists its pages (vmalloc, stacks).

Either way a claim carries a *key*, a number that stands for the owner (usually its address), and
:meth:`Layer.describe` turns distinct keys into text. Python sees keys; numpy sees pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.memmap import Heads
from pageowner.kernel.page_type import any_of
from pageowner.kernel.target import Kernel

Bools = npt.NDArray[np.bool_]
Column = npt.NDArray[Any]


class Band(IntEnum):
    """Who wins a page that several layers claim: the lowest band.

    FREE: the allocator says that nobody owns it. TYPED: the struct page itself names its kind. WALKED:
    an owner lists the page as its own. MAPPING: page.mapping and flags say whose it is. HELD: somebody
    holds a reference to a page that may well be another's (a pipe with a page-cache page). FALLBACK:
    what is left, by weaker evidence.
    """

    FREE = 0
    TYPED = 1
    WALKED = 2
    MAPPING = 3
    HELD = 4
    FALLBACK = 5


@dataclass(frozen=True)
class Needs:
    """What a layer cannot work without; what is missing is reported and the layer is skipped.

    ``members``: ``"struct x.member"``, alternatives separated by ``|``; ``globals``: names of variables,
    alternatives likewise.
    """

    members: tuple[str, ...] = ()
    globals: tuple[str, ...] = ()


@dataclass
class Selection:
    """Heads that a layer takes: ``rows`` index into the heads; ``key`` uint64 and ``columns`` align."""

    rows: npt.NDArray[np.intp]
    key: npt.NDArray[np.uint64]
    columns: dict[str, Column] = field(default_factory=dict)


@dataclass
class Claims:
    """Runs of pages that owners list: ``pfn`` and ``n`` int64, ``key`` uint64, ``columns`` align.

    ``held``: the owner only holds references to these; they count as claims of the band HELD, whatever
    the band of the layer (a buffer that a process registered stays the process's).
    """

    pfn: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]
    key: npt.NDArray[np.uint64]
    columns: dict[str, Column] = field(default_factory=dict)
    held: bool = False


class Layer:
    """Base class of all layers. One object serves one scan of one kernel.

    A layer of one's own needs ``word``, ``band``, ``line`` and either :meth:`walk`, or :meth:`domain`
    and :meth:`select`; and :meth:`describe` where keys have more to tell than their number.
    """

    word: ClassVar[str]
    """First word of the owner line, ``VMALLOC_PAGE``: capitals and underscores."""
    band: ClassVar[Band]
    line: ClassVar[str]
    """The owner line with ``{column}`` or ``{column:x}`` fields from :meth:`describe`, from the claim's
    own columns, or from the engine: ``pfn`` (of the page), ``page`` (its offset in the claim),
    ``mapcount`` and ``refcount`` (of the folio), ``start``, ``end``, ``by_pid`` (where it is mapped)."""
    types: ClassVar[tuple[int, ...]] = ()
    """Codes of :mod:`pageowner.kernel.page_type` that are this layer's alone."""
    needs: ClassVar[Needs] = Needs()
    before: ClassVar[tuple[str, ...]] = ()
    """Words of layers in the same band that this one is more specific than."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def domain(self, heads: Heads) -> Bools:
        """Heads that may be this layer's, by their columns alone.

        If the layer fails, these become UNKNOWN_PAGE instead of falling through to the next layer.
        """
        if heads.kinds.isdisjoint(self.types):
            return np.zeros(len(heads), np.bool_)
        return any_of(heads.type, self.types)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection | None:
        """Which of *rows* (in the domain, not taken by a stronger layer) are mine, and whose they are."""
        return Selection(rows, np.zeros(len(rows), np.uint64)) if self.types else None

    def walk(self) -> Iterator[Claims]:
        """Everything that owners list as theirs, in pieces; called once per scan."""
        return iter(())

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        """One row per key, in order.

        :returns: the columns that :attr:`line` names; ``owner`` (string): a short name for tables; and
            ``problem`` (string or null): why this key cannot be believed, which makes its pages
            ``UNKNOWN_PAGE (<problem>)``.
        """
        return pl.DataFrame({"owner": [self.word] * len(keys)})

    def inspect(self, pfn: int) -> list[tuple[str, str]]:
        """More about the page than its line tells, as (title, text) rows for ``explain``."""
        return []


def untyped(heads: Heads) -> Bools:
    """Heads whose ``mapping`` may be read as one: no page type, in use, not torn.

    (A slab's words look like an anon mapping; a free page's are stale.)
    """
    return heads.plain
