# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who wins each page: the claims of all layers, painted strongest first over one section."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Pages
from pageowner.kernel.sections import Section
from pageowner.layers.base import Band, Claims, Layer

I64 = npt.NDArray[np.int64]
UNCLAIMED = 255
"""Layer number of pages that nobody claimed."""


def is_exclusive(layer: Layer) -> bool:
    """Whether pages of *layer* are of no use to another: who lists one is wrong, or late.

    Pages of hugetlb are a process's memory: pipes, packets and io_uring hold them as any other.
    """
    return layer.band <= Band.TYPED and page_type.HUGETLB not in layer.types


@dataclass
class Table:
    """The claims of one layer that reach into one section, rows aligned: pfn, n, key, columns."""

    pfn: I64
    n: I64
    key: npt.NDArray[np.uint64]
    columns: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    @staticmethod
    def empty() -> Table:
        return Table(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64))


def concatenate(tables: list[Table]) -> Table:
    """The rows of all *tables* in order; a column that one lacks is zeros there."""
    tables = [t for t in tables if len(t.pfn)]
    if len(tables) < 2:
        return tables[0] if tables else Table.empty()
    kinds = {name: column.dtype for t in tables for name, column in t.columns.items()}
    columns = {
        name: np.concatenate([t.columns.get(name, np.zeros(len(t.pfn), kind)) for t in tables])
        for name, kind in kinds.items()
    }
    return Table(
        np.concatenate([t.pfn for t in tables]),
        np.concatenate([t.n for t in tables]),
        np.concatenate([t.key for t in tables]),
        columns,
    )


@dataclass
class Canvas:
    """One section while it is painted: per page the layer's number and the row of its claim table."""

    pages: Pages
    layer: npt.NDArray[np.uint8]
    claim: npt.NDArray[np.int32]
    _free: npt.NDArray[np.bool_] | None = None

    @staticmethod
    def of(pages: Pages) -> Canvas:
        n = pages.section.n
        return Canvas(pages, np.full(n, UNCLAIMED, np.uint8), np.full(n, -1, np.int32))

    def free_heads(self) -> npt.NDArray[np.bool_]:
        """Heads of which at least one page in this section is unclaimed."""
        if self._free is None:  # most layers have nothing in most sections, so it seldom changes
            free = np.zeros(len(self.pages.heads) + 1, np.bool_)  # the last is of pages without a head
            free[self.pages.head[np.flatnonzero(self.layer == UNCLAIMED)]] = True
            self._free = free[:-1]
        return self._free

    def reopen(self, pages: npt.NDArray[np.bool_]) -> None:
        """Take *pages* (bool per page of the section) from whoever has them."""
        self.layer[pages] = UNCLAIMED
        self._free = None

    def paint(
        self, number: int, table: Table, first_row: int = 0, closed: npt.NDArray[np.bool_] | None = None
    ) -> int:
        """Give each claim's pages in this section to layer *number* where nobody has them yet.

        :param closed: pages that this layer cannot get, bool per page of the section.
        :returns: pages within this section that the claims did not get.
        """
        at, inside, rows = _expand(table, self.pages)
        won = self.layer[at] == UNCLAIMED
        if closed is not None:
            won &= ~closed[at]
        if not won.all():
            at, rows = at[won], rows[won]
        self.layer[at] = number
        self._free = None
        # Backwards: of two claims of one table on a page, the first is to have it.
        self.claim[at[::-1]] = rows[::-1] + first_row
        return inside - len(at)


def _expand(table: Table, pages: Pages) -> tuple[npt.NDArray[np.intp], int, I64]:
    """Page offsets in the section that the claims cover, the claim of each, and the number of pages there,
    those without a struct page included."""
    at, inside, rows = _spread(table, pages.section)
    exists = pages.valid[at]
    return (at, inside, rows) if exists.all() else (at[exists], inside, rows[exists])


def _spread(table: Table, section: Section) -> tuple[npt.NDArray[np.intp], int, I64]:
    start, size = section.start, section.n
    if len(table.n) and int(table.n.max()) == 1:  # as most are
        at = table.pfn - start
        rows = np.flatnonzero((at >= 0) & (at < size))
        return at[rows], len(rows), rows
    low = np.clip(table.pfn - start, 0, size)
    high = np.clip(table.pfn + table.n - start, 0, size)
    inside = np.maximum(high - low, 0)
    ends = np.cumsum(inside)
    total = int(ends[-1]) if len(ends) else 0
    rows = np.repeat(np.arange(len(inside)), inside)
    at = np.arange(total) - np.repeat(ends - inside, inside) + np.repeat(low, inside)
    return at, total, rows


class Walked:
    """All runs that one layer's walk gave, sorted, to be cut by section."""

    def __init__(self, pieces: list[Claims]) -> None:
        table = concatenate(_clean(pieces))
        order = np.argsort(table.pfn, kind="stable")
        self.table = Table(
            table.pfn[order],
            table.n[order],
            table.key[order],
            {k: v[order] for k, v in table.columns.items()},
        )
        # The furthest end so far: finds runs that began before a section and reach into it.
        self._reach = np.maximum.accumulate(self.table.pfn + self.table.n)

    def between(self, first: int, last: int) -> Table:
        """Claims that cover any PFN of *first* … *last*, both included."""
        low = int(np.searchsorted(self._reach, first, side="right"))
        high = int(np.searchsorted(self.table.pfn, last, side="right"))
        part, high = self.table, max(low, high)
        return Table(
            part.pfn[low:high],
            part.n[low:high],
            part.key[low:high],
            {k: v[low:high] for k, v in part.columns.items()},
        )


def _clean(pieces: list[Claims]) -> list[Table]:
    """The pieces without impossible runs (a torn owner may list anything)."""
    out = []
    for piece in pieces:
        good = (
            (piece.pfn >= 0) & (piece.n > 0) & (piece.n < np.int64(1) << 40) & (piece.pfn < np.int64(1) << 40)
        )
        columns = {name: column[good] for name, column in piece.columns.items()}
        out.append(Table(piece.pfn[good], piece.n[good], piece.key[good].astype(np.uint64), columns))
    return out
