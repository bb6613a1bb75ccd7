# SPDX-License-Identifier: LGPL-2.1-or-later
"""Everything about one page, gathered for ``explain``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pageowner.escape import escape
from pageowner.kernel import page_type
from pageowner.kernel.folio import FolioCounts
from pageowner.kernel.memcg import Memcgs
from pageowner.kernel.memmap import Heads
from pageowner.kernel.migratetype import read_migrate_types
from pageowner.kernel.page_flags import read_page_flags
from pageowner.kernel.pageblock import PageBlocks, read_pageblocks
from pageowner.kernel.references import References
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.kernel.zone import read_zones
from pageowner.snapshot.claims import is_exclusive
from pageowner.snapshot.explain_mapped import Places, places_of
from pageowner.snapshot.explain_record import Record, record_of
from pageowner.snapshot.lines import OwnerLines
from pageowner.snapshot.one_page import OnePage, mappings_of, paint_page, read_page
from pageowner.snapshot.scan import LayerRun, Scan, SectionScan

BUDDY_BLOCK = "buddy block"


@dataclass(frozen=True)
class Claim:
    """What a layer says: ``word``, ``owner`` (short), ``line`` (as in a report); ``stale``: the page itself
    says that it is free or of another type, so this cannot be so any more."""

    word: str
    owner: str
    line: str
    stale: bool = False


@dataclass(frozen=True)
class Unit:
    """The folio, buddy block or single page: ``first`` PFN, ``pages``, ``kind`` in words, ``torn``."""

    first: int
    pages: int
    kind: str
    torn: bool


@dataclass(frozen=True)
class Where:
    """``node``, ``zone`` (name), ``pageblock`` (number) and its migrate ``type``."""

    node: int
    zone: str
    pageblock: int
    type: str


@dataclass(frozen=True)
class Charge:
    """The memory cgroup that pays: ``path`` as in /proc/PID/cgroup, ``inode`` of its directory."""

    path: str
    inode: int
    online: bool
    via_objcg: bool


@dataclass(frozen=True)
class Refs:
    """``refcount`` and ``mapcount`` of the folio, as stored, and the references that we can account for."""

    refcount: int
    mapcount: int
    known: dict[str, int]

    @property
    def unknown(self) -> int:
        return self.refcount - sum(self.known.values())


@dataclass(frozen=True)
class Explanation:
    """All of it. ``users``: claims that lost; ``details``: what the layer's ``inspect`` adds, (title, text)
    rows; ``flags``: of the page itself; ``folio_flags``: of its head, where most are kept."""

    pfn: int
    page: int
    owner: Claim
    users: list[Claim]
    details: list[tuple[str, str]]
    unit: Unit
    where: Where
    flags: str
    folio_flags: str
    charge: Charge | None
    refs: Refs
    places: Places
    record: Record | None


def explain(scan: Scan, pfn: int, most_places: int) -> Explanation:
    """All that can be told about page *pfn*.

    :raises NoPageError: when it has no readable struct page.
    """
    found = read_page(scan, pfn)
    with mappings_of(scan, found):
        return _explain(scan, paint_page(scan, found), most_places)


def _explain(scan: Scan, page: OnePage, most_places: int) -> Explanation:
    pfn, blocks = page.pfn, read_pageblocks(scan.kernel, scan.sections)
    heads, head = page.scan.pages.heads, int(page.scan.pages.head[page.at])
    record = record_of(scan, page, blocks)
    lines = OwnerLines(scan)
    frame = _block(page, record)
    return Explanation(
        pfn=pfn,
        page=int(scan.sections.page_address(np.array([pfn]))[0]),
        owner=_claim(scan.by_number(page.number), page.scan, page, lines, frame),
        users=[_claim(run, alone, page, lines, frame, _is_stale(scan, page)) for run, alone in page.claims],
        details=_details(scan.by_number(page.number), pfn),
        unit=_unit(heads, head),
        where=_where(scan.kernel, page, blocks),
        flags=_flags(scan.kernel, int(page.scan.pages.flags[page.at])),
        folio_flags=_flags(scan.kernel, int(heads.flags[head])),
        charge=_charge(scan.kernel, heads, head),
        refs=_refs(scan.kernel, page, head),
        places=places_of(scan.kernel, pfn, most_places),
        record=record,
    )


def _block(page: OnePage, record: Record | None) -> pl.DataFrame:
    """What the owner line is for: the block if it begins with this page (as in a report), else the page."""
    first, n = page.block
    start, size = page.scan.pages.section.start, page.scan.pages.section.n
    whole = first == page.pfn and first + n <= start + size
    columns: dict[str, pl.Series] = {
        "pfn": pl.Series([page.pfn], dtype=pl.Int64),
        "n": pl.Series([n if whole else 1], dtype=pl.Int64),
    }
    if record is not None and record.allocated and record.allocation.tgid is not None:
        columns["tgid"] = pl.Series([record.allocation.tgid], dtype=pl.Int32)
        columns["ts_nsec"] = pl.Series([record.allocation.ts or 0], dtype=pl.UInt64)
    return pl.DataFrame(columns)


def _claim(
    run: LayerRun,
    scan: SectionScan,
    page: OnePage,
    lines: OwnerLines,
    block: pl.DataFrame,
    stale: bool = False,
) -> Claim:
    of = lines.of_blocks if scan is page.scan else lines.of_pages
    row = int(scan.owner_rows()[page.at])
    owner = run.owners.frame.get_column("owner")[row]
    return Claim(run.word, str(owner), str(of(scan, block)[0]), stale)


def _is_stale(scan: Scan, page: OnePage) -> bool:
    return is_exclusive(scan.by_number(page.number).layer)


def _details(run: LayerRun, pfn: int) -> list[tuple[str, str]]:
    try:
        return [(str(title), str(text)) for title, text in run.layer.inspect(pfn)]
    except Exception as error:  # a layer may be anybody's code: it must not cost the rest
        return [("more", f"the layer failed ({str(error) or type(error).__name__})")]


def _unit(heads: Heads, head: int) -> Unit:
    n, code = int(heads.n[head]), int(heads.type[head])
    name = page_type.NAMES.get(code, "")
    kind = BUDDY_BLOCK if code == page_type.BUDDY else "compound" if heads.compound[head] else "single page"
    if name and code != page_type.BUDDY:
        kind += f" of type {name}"
    return Unit(int(heads.pfn[head]), n, kind, bool(heads.torn[head]))


def _where(kernel: Kernel, page: OnePage, blocks: PageBlocks) -> Where:
    flags = page.scan.pages.flags[page.at : page.at + 1]
    names = read_page_flags(kernel)
    node, zone = int(names.node(flags)[0]), int(names.zone(flags)[0])
    zones = read_zones(kernel).filter((pl.col("node") == node) & (pl.col("zone_index") == zone))
    kind = int(blocks.page_types(page.section)[page.pfn - page.section.start])
    types = read_migrate_types(kernel)
    return Where(
        node,
        str(zones["zone"][0]) if zones.height else f"number {zone}",
        page.pfn >> blocks.order,
        "unknown (not in the source)" if kind == 255 else types.name(kind),
    )


def _flags(kernel: Kernel, word: int) -> str:
    """``0x…(uptodate|lru|…)`` without the numbers in the upper bits: those are told in words elsewhere."""
    flags = read_page_flags(kernel)
    return f"0x{word:x}({flags.names.text(word & flags.mask)})"


def _charge(kernel: Kernel, heads: Heads, head: int) -> Charge | None:
    if "memcg" not in (heads.rows.dtype.names or ()) or heads.type[head] == page_type.BUDDY:
        return None
    try:
        memcgs = Memcgs(kernel)
    except LookupError:
        return None
    charges = memcgs.charges(heads.rows["memcg"][head : head + 1])
    found = memcgs.get(charges.memcg)
    for address, memcg in found.items():
        kmem = bool(charges.kmem[charges.memcg == address].any())
        return Charge(escape(memcg.path), memcg.id, memcg.online, kmem)
    return None


def _refs(kernel: Kernel, page: OnePage, head: int) -> Refs:
    heads = page.scan.pages.heads
    mapcounts = FolioCounts(kernel).mapcounts(page.scan.pages)
    known = kernel.memo(References).of(heads, mapcounts)
    counts = {
        "mappings": int(known.mappings[head]),
        "page cache": int(known.cache[head]),
        "swap cache": int(known.swap[head]),
        "private data": int(known.private[head]),
    }
    return Refs(int(heads.refcount[head]), int(mapcounts[head]), {k: v for k, v in counts.items() if v})


def physical(pfn: int) -> int:
    """The physical address at which page *pfn* begins."""
    return pfn << PAGE_SHIFT
