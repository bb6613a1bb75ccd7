# SPDX-License-Identifier: LGPL-2.1-or-later
"""The memmap: struct pages of a section in bulk, and the units (folios, buddy blocks) that they form.

:class:`Pages` holds one section as columns; :class:`Heads` one row per unit of it: a single page, a
compound page or a free block. Layers look at heads; the engine spreads what they say over the pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel import page_type
from pageowner.kernel.page_type import PageTypes, page_types
from pageowner.kernel.sections import Section, Sections, valid_pages
from pageowner.kernel.target import PAGE_SHIFT, Kernel

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[Any]

_COLUMNS: dict[str, tuple[str, ...] | str] = {
    "flags": "flags",
    "word1": ("compound_info", "compound_head"),  # renamed in 7.1
    "word2": "lru.prev",
    "mapping": "mapping",
    "index": ("__folio_index", "index"),  # renamed in 6.16
    "private": "private",
    "mapcount": "_mapcount",
    "refcount": "_refcount",
}
_MAX_UNIT_ORDER = 18  # a 1 GiB hugetlb page; nothing larger exists on x86-64


@dataclass(frozen=True)
class PageLayout:
    """Where things lie in a struct page of this kernel, worked out once."""

    sections: Sections
    dtype: np.dtype[Any]
    second: np.dtype[Any]
    """Columns that a compound page keeps in its second struct page: order, mapcounts, pins, dtor."""
    types: PageTypes
    head_bit: int
    slab_flag: int | None
    """PG_slab as a page flag (until 6.9), else None."""
    hugetlb_dtor: int | None
    """HUGETLB_PAGE_DTOR, where the second page has a dtor (until 6.5)."""
    hugetlb_flag: int | None
    """PG_hugetlb in the second page's flags (6.6 to 6.8)."""
    masked_head: bool
    """7.1+ with vmemmap optimisation: word1 of a tail is a mask of its own address."""
    max_order: int
    """The largest order of the buddy allocator, inclusive."""


def page_layout(kernel: Kernel, sections: Sections) -> PageLayout:
    """The layout of struct page, probed newest first.

    :raises LookupError: when a column that classification rests on cannot be found.
    """
    columns = dict(_COLUMNS)
    if kernel.has_member("struct page", "memcg_data"):
        columns["memcg"] = "memcg_data"
    elif kernel.has_member("struct page", "mem_cgroup"):
        columns["memcg"] = "mem_cgroup"  # 5.10
    dtype = _with_slab_cache(kernel, kernel.dtype("struct page", columns))
    return PageLayout(
        sections=sections,
        dtype=dtype,
        second=_second_page(kernel, sections.page_size),
        types=page_types(kernel),
        head_bit=_page_flag(kernel, "PG_head", kernel.number("PG_head_mask")),
        slab_flag=_slab_flag(kernel),
        hugetlb_dtor=kernel.constant("HUGETLB_PAGE_DTOR"),
        hugetlb_flag=_hugetlb_flag(kernel),
        masked_head=kernel.has_member("struct zone", "vmemmap_tails")
        and not sections.page_size & (sections.page_size - 1),
        max_order=kernel.vmcoreinfo.lengths.get("zone.free_area", 11) - 1,
    )


def _page_flag(kernel: Kernel, name: str, mask: int | None) -> int:
    bit = kernel.constant(name)
    if bit is not None:
        return 1 << bit
    if mask is None:
        raise LookupError(f"neither enum pageflags nor VMCOREINFO knows {name}")
    return mask


def _slab_flag(kernel: Kernel) -> int | None:
    bit = kernel.constant("PG_slab")
    return 1 << bit if bit is not None and bit < 64 else None


def _hugetlb_flag(kernel: Kernel) -> int | None:
    """6.6 to 6.8 mark hugetlb in the second page's flags; later it is a page type."""
    bit = kernel.constant("PG_hugetlb")
    return 1 << bit if bit is not None and bit < 64 and kernel.constant("HUGETLB_PAGE_DTOR") is None else None


def _with_slab_cache(kernel: Kernel, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Add ``slab_cache``: in struct slab since 5.17, at word 3 of struct page before."""
    type_name = "struct slab" if kernel.has_member("struct slab", "slab_cache") else "struct page"
    offset = kernel.offset(type_name, "slab_cache")
    fields: dict[str, Any] = dict(dtype.fields or {})
    return np.dtype(
        {
            "names": [*fields, "slab_cache"],
            "formats": [*(f[0] for f in fields.values()), "<u8"],
            "offsets": [*(f[1] for f in fields.values()), offset],
            "itemsize": dtype.itemsize,
        }
    )


def _second_page(kernel: Kernel, page_size: int) -> np.dtype[Any]:
    """Columns of the second struct page, newest names first; only those that the target has."""
    wanted: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
        # Until 5.16 there is no struct folio: the second page's own flags.
        ("flags_1", "<u8", "struct folio", (("struct folio", "_flags_1"), ("struct page", "flags"))),
        # Until 6.5 a byte of its own; since ebc1baf5c9b4 (6.6) the low byte of _flags_1.
        ("order", "u1", "", (("struct folio", "_folio_order"), ("struct page", "compound_order"))),
        ("dtor", "u1", "", (("struct folio", "_folio_dtor"), ("struct page", "compound_dtor"))),
        ("large_mapcount", "<i4", "", (("struct folio", "_large_mapcount"),)),
        (
            "entire_mapcount",
            "<i4",
            "",
            (("struct folio", "_entire_mapcount"), ("struct page", "compound_mapcount")),
        ),
        ("pincount", "<i4", "", (("struct folio", "_pincount"), ("struct page", "compound_pincount"))),
    )
    names, formats, offsets = [], [], []
    for name, fmt, _, places in wanted:
        offset = _place(kernel, places, page_size)
        if offset is not None:
            names.append(name)
            formats.append(fmt)
            offsets.append(offset)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": page_size})


def _place(kernel: Kernel, places: tuple[tuple[str, str], ...], page_size: int) -> int | None:
    """Offset within the second struct page of the first member in *places* that exists."""
    for type_name, member in places:
        try:
            offset = kernel.offset(type_name, member)
        except LookupError:
            continue
        if type_name == "struct page":
            return offset
        if page_size <= offset < 2 * page_size:
            return offset - page_size
    return None


@dataclass
class Heads:
    """One row per unit, by PFN. Columns are arrays of one length.

    ``pfn`` first page, ``n`` pages in the unit, ``type`` code of :mod:`page_type`, ``compound`` and
    ``rows`` the head's struct page columns, ``second`` those of the next struct page (zeros for
    single pages). ``torn``: the words contradict each other.
    """

    layout: PageLayout
    pfn: I64
    n: I64
    type: npt.NDArray[np.uint8]
    compound: Bools
    rows: Rows
    second: Rows
    torn: Bools
    handle: npt.NDArray[np.uint32]
    """Stack depot handle of the head's allocation record; 0 where there is no record."""
    recorded: Bools
    """Whether there is an allocation record: it may lack a stack (handle 0)."""

    def __len__(self) -> int:
        return len(self.pfn)

    # Every layer looks at these: gathered out of the rows once.
    @cached_property
    def flags(self) -> U64:
        return np.ascontiguousarray(self.rows["flags"])

    @cached_property
    def refcount(self) -> npt.NDArray[np.int32]:
        """``folio_ref_count()`` as stored."""
        return np.ascontiguousarray(self.rows["refcount"]).view(np.int32)

    @cached_property
    def mapping(self) -> U64:
        return np.ascontiguousarray(self.rows["mapping"])

    @cached_property
    def kinds(self) -> frozenset[int]:
        """The codes that occur in ``type``."""
        return frozenset(np.flatnonzero(np.bincount(self.type)).tolist())

    @cached_property
    def plain(self) -> Bools:
        """No page type, in use, not torn: ``mapping`` may be read as one."""
        return np.asarray((self.type == page_type.NONE) & (self.refcount > 0) & ~self.torn)

    @cached_property
    def mapping_bits(self) -> U64:
        """Low two bits of ``mapping``: 0 file, 1 anon, 2 movable (until 6.16), 3 KSM."""
        return self.mapping & np.uint64(3)


@dataclass
class Pages:
    """One section. ``head`` int32[n]: row in ``heads`` of each page, -1 where there is no struct page.

    ``flags`` and ``mapcount`` are each page's own words; ``valid`` tells pages with a readable,
    initialised struct page; ``lost`` the others that should have had one, and ``unreadable`` counts
    these; ``torn`` is the count of tails whose head contradicts them.
    """

    section: Section
    flags: U64
    mapcount: npt.NDArray[np.int32]
    valid: Bools
    unreadable: int
    torn: int
    heads: Heads
    head: npt.NDArray[np.int32]
    rows: Rows = field(repr=False)
    lost: Bools = field(repr=False)

    @property
    def pfn(self) -> I64:
        return np.arange(self.section.start, self.section.start + self.section.n, dtype=np.int64)


def read_pages(kernel: Kernel, layout: PageLayout, section: Section) -> Pages:
    """Read and resolve the struct pages of *section* (one big read; around faults when there are any)."""
    size = layout.sections.page_size
    data, ok = kernel.read_pieces(section.memmap, section.n * size)
    rows = np.frombuffer(data, layout.dtype)
    second = np.frombuffer(data, layout.second)
    flags = np.ascontiguousarray(rows["flags"])
    readable = _readable(ok, section, size)
    exists = valid_pages(kernel, section)
    # A struct page that was never initialised is poisoned with ones (PAGE_POISON_PATTERN).
    valid = exists & readable & (flags != np.uint64(0xFFFFFFFFFFFFFFFF))
    lost = exists & ~readable
    head_of, n_of, torn_pages, torn = _units(layout, section, rows, second, flags, valid)
    heads, index = _heads(kernel, layout, section, rows, second, head_of, n_of, torn_pages, valid)
    mapcount = np.ascontiguousarray(rows["mapcount"]).view(np.int32)
    return Pages(section, flags, mapcount, valid, int(lost.sum()), torn, heads, index, rows, lost)


def _readable(ok: Bools, section: Section, size: int) -> Bools:
    """Spread "this page of the memmap could be read" over the struct pages in it."""
    if ok.all():
        return np.ones(section.n, np.bool_)
    offsets = section.memmap % (1 << PAGE_SHIFT) + np.arange(section.n, dtype=np.int64) * size
    return np.asarray(ok[offsets >> PAGE_SHIFT] & ok[(offsets + size - 1) >> PAGE_SHIFT])


def _units(
    layout: PageLayout, section: Section, rows: Rows, second: Rows, flags: U64, valid: Bools
) -> tuple[I64, npt.NDArray[np.int64], Bools, int]:
    """For each page the PFN of its unit's head; for each head the unit's size.

    Tails of a head in an earlier section point there. Buddy blocks win over stale compound words.
    """
    start, n = section.start, section.n
    own = np.arange(start, start + n, dtype=np.int64)
    head_of, n_of = own.copy(), np.ones(n, np.int64)
    word1 = np.ascontiguousarray(rows["word1"])
    tail = ((word1 & np.uint64(1)) != 0) & valid
    pointed = _pointed_head(layout, own, word1, tail)
    comp = np.flatnonzero(((flags & np.uint64(layout.head_bit)) != 0) & valid & ~tail)
    is_fake = _fake_heads(layout, comp, own, tail, pointed)
    fake, comp = comp[is_fake], comp[~is_fake]
    size = np.int64(1) << compound_order(second[np.minimum(comp + 1, n - 1)])
    # The tail after a head must point to it; else the head is torn and stands alone.
    good = (comp + 1 < n) & (size > 1) & (own[comp] % size == 0)
    good[good] &= pointed[comp[good] + 1] == own[comp[good]]
    torn = np.zeros(n, np.bool_)
    torn[comp[~good]] = True
    _cover(head_of, n_of, comp[good], size[good], start, n)
    buddy = _buddy_heads(layout, rows, valid & ~tail, own)
    _cover(head_of, n_of, buddy, np.int64(1) << rows["private"][buddy].astype(np.int64), start, n)
    inside = (head_of == own) & tail
    foreign = inside & (pointed >= 0) & (pointed < start)
    head_of[foreign] = pointed[foreign]
    torn |= inside & ~foreign
    # Those of a page of 1 GiB that began sections ago: the tail behind them knows.
    behind = pointed[np.minimum(fake + 1, n - 1)]
    earlier = (head_of[fake] == own[fake]) & (behind >= 0) & (behind < start)
    head_of[fake[earlier]] = behind[earlier]
    # HVO lets the tails of a hugetlb page share struct pages, so what a covered tail points to may differ.
    return head_of, n_of, torn, int(torn.sum())


def _pointed_head(layout: PageLayout, own: I64, word1: U64, tail: Bools) -> I64:
    """PFN that each tail's word1 leads to; -1 for pages that are no tails or point nowhere."""
    sections = layout.sections
    rows = np.flatnonzero(tail)
    target = word1[rows] - np.uint64(1)
    if layout.masked_head:
        target = sections.page_address(own[rows]) & word1[rows]
    pointed = np.full(len(own), -1, np.int64)
    pointed[rows] = sections.page_pfn(target)
    return pointed


def _fake_heads(layout: PageLayout, comp: npt.NDArray[np.intp], own: I64, tail: Bools, pointed: I64) -> Bools:
    """Heads that HugeTLB vmemmap optimisation shows (5.14-7.0): copies of the head's own struct page.

    A struct page at the start of a page whose successor is a tail of another head (page_fixed_fake_head()).
    """
    following = np.minimum(comp + 1, len(own) - 1)
    aligned = (own[comp] * layout.sections.page_size) % (1 << PAGE_SHIFT) == 0
    return np.asarray(
        aligned & tail[following] & (pointed[following] >= 0) & (pointed[following] != own[comp])
    )


def compound_order(second: Rows) -> npt.NDArray[np.int64]:
    """Order of compound pages from the columns of their second struct page, clamped to what exists."""
    if "order" in (second.dtype.names or ()):
        order = second["order"].astype(np.int64)
    else:
        order = (second["flags_1"] & np.uint64(0xFF)).astype(np.int64)
    return np.where(order <= _MAX_UNIT_ORDER, order, 0)


def _buddy_heads(layout: PageLayout, rows: Rows, candidates: Bools, own: I64) -> npt.NDArray[np.intp]:
    words = np.ascontiguousarray(rows["mapcount"]).view(np.uint32)
    # A guard block (debug_guardpage_minorder) keeps its order in the same place.
    blocks = page_type.any_of(layout.types.codes(words), (page_type.BUDDY, page_type.GUARD))
    buddy = np.flatnonzero(blocks & candidates)
    order = rows["private"][buddy]
    sane = order <= np.uint64(layout.max_order)
    sane[sane] = own[buddy[sane]] % (np.int64(1) << order[sane].astype(np.int64)) == 0
    return buddy[sane]


def _cover(head_of: I64, n_of: I64, at: npt.NDArray[np.intp], size: I64, start: int, n: int) -> None:
    """Let the *size* pages from each row *at* belong to it (cut at the section's end)."""
    if not len(at):
        return
    inside = np.minimum(size, n - at)
    rows = np.repeat(at, inside) + _ramp(inside)
    head_of[rows] = np.repeat(at + start, inside)
    n_of[at] = size


def _ramp(lengths: I64) -> I64:
    """0 … lengths[0]-1, 0 … lengths[1]-1, …"""
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64) - np.repeat(ends - lengths, lengths)


def _heads(
    kernel: Kernel,
    layout: PageLayout,
    section: Section,
    rows: Rows,
    second: Rows,
    head_of: I64,
    n_of: I64,
    torn: Bools,
    valid: Bools,
) -> tuple[Heads, npt.NDArray[np.int32]]:
    own = np.arange(section.start, section.start + section.n, dtype=np.int64)
    is_foreign = (head_of < section.start) & valid
    foreign = np.unique(head_of[is_foreign])
    local = np.flatnonzero((head_of == own) & valid)
    heads = _local_heads(layout, own, rows, second, n_of, torn, local)
    if len(foreign):
        heads = _join(_foreign_heads(kernel, layout, foreign), heads)
    slot = np.full(section.n, -1, np.int32)
    slot[local] = np.arange(len(foreign), len(foreign) + len(local), dtype=np.int32)
    index = np.where(valid, slot[np.maximum(head_of - section.start, 0)], np.int32(-1))
    index[is_foreign] = np.searchsorted(foreign, head_of[is_foreign]).astype(np.int32)
    return heads, index


def _local_heads(
    layout: PageLayout,
    own: I64,
    rows: Rows,
    second: Rows,
    n_of: I64,
    torn: Bools,
    local: npt.NDArray[np.intp],
) -> Heads:
    # As opaque items, which numpy copies whole, not field by field.
    picked = rows.view(f"V{rows.dtype.itemsize}").take(local).view(rows.dtype)
    compound = ((picked["flags"] & np.uint64(layout.head_bit)) != 0) & (n_of[local] > 1)
    after = np.zeros(len(local), second.dtype)
    after[compound] = second[np.minimum(local[compound] + 1, len(own) - 1)]
    return _make_heads(layout, own[local], n_of[local], compound, picked, after, torn[local])


def _foreign_heads(kernel: Kernel, layout: PageLayout, pfns: I64) -> Heads:
    """Heads in other sections whose tails reach into this one: few, read one by one."""
    addresses = layout.sections.page_address(pfns)
    rows, ok = kernel.gather(addresses, layout.dtype)
    second, ok2 = kernel.gather(addresses + np.uint64(layout.sections.page_size), layout.second)
    n = np.int64(1) << compound_order(second)
    compound = (rows["flags"] & np.uint64(layout.head_bit)) != 0
    return _make_heads(layout, pfns, n, compound, rows, second, ~(ok & ok2 & compound))


def _make_heads(
    layout: PageLayout, pfn: I64, n: I64, compound: Bools, rows: Rows, second: Rows, torn: Bools
) -> Heads:
    codes = layout.types.codes(np.ascontiguousarray(rows["mapcount"]).view(np.uint32))
    if layout.slab_flag is not None:
        codes[(rows["flags"] & np.uint64(layout.slab_flag)) != 0] = page_type.SLAB
    if layout.hugetlb_dtor is not None and "dtor" in (second.dtype.names or ()):
        codes[compound & (second["dtor"] == layout.hugetlb_dtor)] = page_type.HUGETLB
    if layout.hugetlb_flag is not None and "flags_1" in (second.dtype.names or ()):
        codes[compound & ((second["flags_1"] & np.uint64(layout.hugetlb_flag)) != 0)] = page_type.HUGETLB
    handle = np.zeros(len(pfn), np.uint32)
    recorded = np.zeros(len(pfn), np.bool_)
    return Heads(layout, pfn, n, codes, compound, rows, second, torn, handle, recorded)


def _join(a: Heads, b: Heads) -> Heads:
    def both(name: str) -> Any:
        return np.concatenate([getattr(a, name), getattr(b, name)])

    names = ("pfn", "n", "type", "compound", "rows", "second", "torn", "handle", "recorded")
    return Heads(a.layout, *(both(name) for name in names))
