# SPDX-License-Identifier: LGPL-2.1-or-later
"""One page under the same rules as all: its section is read, and its block alone is painted.

What a full scan says of the page is what comes out here, because the same layers are asked by the same
painter; only the number of pages, heads and keys that they are asked about is small.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from pageowner.kernel.memmap import Heads, Pages
from pageowner.kernel.page_flags import flag_mask
from pageowner.kernel.page_owner import PageOwner, Records
from pageowner.kernel.process_memory import few_pages
from pageowner.kernel.sections import Section
from pageowner.layers.base import Band
from pageowner.snapshot.page_address import NoPageError
from pageowner.snapshot.scan import LayerRun, Scan, SectionScan


@dataclass(frozen=True)
class OnePage:
    """``pfn``; ``section``: the whole section that it lies in; ``block``: (first PFN, pages) of its
    allocation, or of its unit where there is no record; ``scan``: the painted pages of block and unit;
    ``claims``: what each other layer claims of the page, weaker ones last, with that layer's painting."""

    pfn: int
    section: Section
    block: tuple[int, int]
    scan: SectionScan
    claims: list[tuple[LayerRun, SectionScan]]

    @property
    def at(self) -> int:
        """The page's offset in the painted pages."""
        return self.pfn - self.scan.pages.section.start

    @property
    def number(self) -> int:
        """Number of the layer that owns the page."""
        return int(self.scan.layer[self.at])


@dataclass(frozen=True)
class Found:
    """A page in its section, nothing painted yet. ``first`` … ``end`` (not included): its block and all units
    that this touches, within the section; ``swapped``: it is in the swap cache."""

    pfn: int
    pages: Pages
    records: Records | None
    block: tuple[int, int]
    first: int
    end: int
    swapped: bool


def scan_page(scan: Scan, pfn: int) -> OnePage:
    """Find out about page *pfn* without a scan of all memory.

    :raises NoPageError: when there is no (readable) struct page for it.
    """
    found = read_page(scan, pfn)
    with mappings_of(scan, found):
        return paint_page(scan, found)


def read_page(scan: Scan, pfn: int) -> Found:
    """Page *pfn* in its section.

    :raises NoPageError: when there is no (readable) struct page for it.
    """
    sections = scan.sections.between(pfn, pfn)
    if not sections:
        raise NoPageError(f"PFN 0x{pfn:x} has no struct page: no memory section of this kernel holds it")
    pages, records = scan.read(sections[0])
    at = pfn - sections[0].start
    if not pages.valid[at]:
        raise NoPageError(
            f"PFN 0x{pfn:x}: its struct page is not in the source, or the kernel never set it up"
        )
    block = _block(scan, pages, records, pfn)
    first, last = _hull(pages, pfn, block)
    swapcache = np.uint64(flag_mask(scan.kernel, "PG_swapcache"))
    swapped = bool(pages.heads.flags[pages.head[at]] & swapcache)
    return Found(pfn, pages, records, block, first, last + 1, swapped)


def mappings_of(scan: Scan, found: Found) -> AbstractContextManager[None]:
    """Meanwhile the kernel's mappings are known as far as this page needs them.

    Whose a page of the swap cache is may be told by who has its swap entry: that takes all page tables.
    """
    return nullcontext() if found.swapped else few_pages(scan.kernel, found.first, found.end)


def paint_page(scan: Scan, found: Found) -> OnePage:
    """Ask all layers about the page."""
    scan.walk()
    few, some = _narrow(found.pages, found.records, found.first, found.end - 1)
    coverage = replace(scan.coverage)
    painted = scan.paint(few, some)
    claims = _claims(scan, few, some, painted, found.pfn)
    scan.coverage = coverage  # one page's stale claims are told with the page
    return OnePage(found.pfn, found.pages.section, found.block, painted, claims)


def _block(scan: Scan, pages: Pages, records: Records | None, pfn: int) -> tuple[int, int]:
    """The allocation that the page is part of, as its own record tells, else its unit."""
    at = pfn - pages.section.start
    head = int(pages.head[at])
    unit = int(pages.heads.pfn[head]), int(pages.heads.n[head])
    if records is None or not isinstance(scan.page_owner, PageOwner) or not records.owner[at]:
        return unit
    order = int(records.rows["order"][at])
    size = 1 << order if order <= scan.layout.max_order else 1
    return pfn & -size, size


def _hull(pages: Pages, pfn: int, block: tuple[int, int]) -> tuple[int, int]:
    """First and last PFN, within the section, of the block and of all units that it touches."""
    start, n = pages.section.start, pages.section.n
    first, last = max(block[0], start), min(block[0] + block[1], start + n) - 1
    rows = pages.head[[first - start, last - start, pfn - start]]
    rows = rows[rows >= 0]
    low = min(first, int(pages.heads.pfn[rows].min()))
    high = max(last, int((pages.heads.pfn[rows] + pages.heads.n[rows]).max()) - 1)
    return max(low, start), min(high, start + n - 1)


def _narrow(pages: Pages, records: Records | None, first: int, last: int) -> tuple[Pages, Records | None]:
    """Pages *first* … *last* of *pages*, with the heads of their units and no others."""
    low, high = first - pages.section.start, last + 1 - pages.section.start
    head = pages.head[low:high]
    rows = np.unique(head[head >= 0])
    index = np.where(head >= 0, np.searchsorted(rows, head), -1).astype(np.int32)
    section = replace(pages.section, start=first, n=high - low)
    few = replace(
        pages,
        section=section,
        flags=pages.flags[low:high],
        mapcount=pages.mapcount[low:high],
        valid=pages.valid[low:high],
        lost=pages.lost[low:high],
        heads=_take(pages.heads, rows),
        head=index,
        rows=pages.rows[low:high],
    )
    if records is None:
        return few, None
    return few, Records(section, records.rows[low:high], records.readable[low:high])


def _take(heads: Heads, rows: np.ndarray[tuple[int], np.dtype[np.int32]]) -> Heads:
    columns = {name: getattr(heads, name)[rows] for name in Heads.__dataclass_fields__ if name != "layout"}
    return replace(heads, **columns)


def _claims(
    scan: Scan, pages: Pages, records: Records | None, painted: SectionScan, pfn: int
) -> list[tuple[LayerRun, SectionScan]]:
    """Layers beside the owner that claim the page: each is asked as if it were alone."""
    at = pfn - pages.section.start
    owner, found = int(painted.layer[at]), []
    for run in scan.runs:
        band = run.layer.band
        if run.number == owner or band == Band.FALLBACK or not run.active:
            continue
        # A page has one mapping word: the layers that read it differ in how much they know of it.
        if band == Band.MAPPING == scan.by_number(owner).layer.band:
            continue
        alone = scan.paint(pages, records, only=run)
        if alone.layer[at] != run.number:
            _paint_stale(alone, run, pfn)
        if alone.layer[at] == run.number:
            found.append((run, alone))
    return found


def _paint_stale(alone: SectionScan, run: LayerRun, pfn: int) -> None:
    """Show a claim by a walk that the page's own type refuses: in `explain` that is worth to be told."""
    table = alone.claims.get(run.number)
    if table is None:
        return
    rows = np.flatnonzero((table.pfn <= pfn) & (pfn < table.pfn + table.n))
    if len(rows):
        at = pfn - alone.pages.section.start
        alone.layer[at], alone.claim[at] = run.number, rows[0]
