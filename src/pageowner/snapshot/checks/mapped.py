# SPDX-License-Identifier: LGPL-2.1-or-later
"""Page tables against struct pages: mapcounts, entries that lead to free pages, reference counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pageowner.kernel import page_type
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.references import References
from pageowner.snapshot.checks.view import I64, Findings, View

_PMD_PAGES, _PUD_PAGES = 1 << 9, 1 << 18


def mapcount(view: View) -> Iterator[Findings]:
    """``folio_mapcount()`` is the number of page-table entries that map the folio or a part of it."""
    heads, rows = view.heads, view.local
    plain = np.isin(heads.type[rows], (page_type.NONE, page_type.HUGETLB)) & ~heads.torn[rows]
    # What reaches beyond the section cannot be added up here; only hugetlb pages of 1 GiB do.
    inside = (heads.pfn[rows] + heads.n[rows] <= view.start + view.n) | (
        heads.type[rows] == page_type.HUGETLB
    )
    rows = rows[plain & inside & ~np.isin(heads.pfn[rows], _free_pfns(view))]
    ours = _per_head(view)[rows]
    stored = view.mapcounts[rows].astype(np.int64)
    differ = ours != stored
    counts = view.kernel.memo(read_process_memory).counts
    if counts.unreadable or counts.truncated:
        differ &= ours > stored  # entries that we did not see explain a smaller number
    bad = rows[differ]

    def text(row: int) -> str:
        head = int(bad[row])
        pfn, n = int(heads.pfn[head]), int(heads.n[head])
        of = f" of the folio of {n} pages" if n > 1 else ""
        mapped = int(ours[differ][row])
        return f"mapcount{of} is {int(view.mapcounts[head])}, but page tables map it {mapped} times" + (
            f" ({view.mapped_by(pfn)})" if mapped else ""
        )

    yield Findings("mapcount", heads.pfn[bad], text)


def _free_pfns(view: View) -> I64:
    return np.flatnonzero(view.free) + view.start


def _per_head(view: View) -> I64:
    """Entries per head: of 4 KiB all; of a huge page one for each of its size that the folio has."""
    counted, pfn = view.counted, view.pages.pfn
    row = view.pages.head
    there = row >= 0
    n = view.heads.n[np.where(there, row, 0)]
    first = view.heads.pfn[np.where(there, row, 0)] == pfn
    # Once per 2 MiB (1 GiB) of the folio: at its aligned pages, or, of a smaller folio, at its head.
    pmd = np.where(n >= _PMD_PAGES, pfn % _PMD_PAGES == 0, first)
    pud = np.where(n >= _PUD_PAGES, pfn % _PUD_PAGES == 0, first)
    entries = counted.small + counted.huge * pmd + counted.gigantic * pud
    sums = np.bincount(row[there], weights=entries[there], minlength=len(view.heads))
    return sums.astype(np.int64)


def mapped_free(view: View) -> Iterator[Findings]:
    """No page-table entry leads to a page that is free, or that nobody holds a reference to."""
    heads, head = view.heads, view.pages.head
    there = head >= 0
    nobody = np.zeros(view.n, np.bool_)
    unheld = (heads.refcount == 0) & np.isin(heads.type, (page_type.NONE, page_type.HUGETLB)) & ~heads.torn
    nobody[there] = unheld[head[there]]
    bad = np.flatnonzero((view.free | nobody) & there & (view.counted.total > 0))

    def text(row: int) -> str:
        at = int(bad[row])
        what = "is free" if view.free[at] else "has no reference"
        return f"{what} ({view.word(at)}), but is mapped by {view.mapped_by(view.start + at)}"

    yield Findings("mapped-free", bad + view.start, text)


def refcount(view: View) -> Iterator[Findings]:
    """The reference count is no smaller than the references that we can see."""
    heads, rows = view.heads, view.local
    known = view.kernel.memo(References).of(heads, view.mapcounts)
    total = known.total
    bad = rows[(heads.refcount[rows] < total[rows]) & (heads.refcount[rows] >= 0)]
    negative = rows[heads.refcount[rows] < 0]
    bad = np.concatenate([bad, negative])

    def text(row: int) -> str:
        head = int(bad[row])
        parts = {
            "mappings": known.mappings,
            "page cache": known.cache,
            "swap cache": known.swap,
            "private data": known.private,
        }
        said = ", ".join(f"{what} {int(count[head])}" for what, count in parts.items() if count[head])
        return (
            f"refcount is {int(heads.refcount[head])}, but {int(total[head])} references are known ({said})"
        )

    yield Findings("refcount", heads.pfn[bad], text)
