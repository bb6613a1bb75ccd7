# SPDX-License-Identifier: LGPL-2.1-or-later
"""Struct pages against each other: compound pages, buddy blocks, words of free pages, zones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from pageowner.kernel import page_type
from pageowner.kernel.page_flags import flag_mask, read_page_flags
from pageowner.kernel.zone import read_zones
from pageowner.snapshot.checks.view import I64, Bools, Findings, View

# Flags that a free page may have: a memory failure stays; reported to the hypervisor is uptodate's bit.
_FREE_MAY = ("PG_hwpoison", "PG_uptodate", "PG_reported")


def compound(view: View) -> Iterator[Findings]:
    """A head is followed by its tails, a tail leads to the head that it is behind, and holds no reference."""
    heads, head = view.heads, view.pages.head
    torn = heads.pfn[view.local[heads.torn[view.local]]]
    yield Findings(
        "compound", torn, lambda _: "is half of a compound page: head and tails contradict each other"
    )
    # Tails of hugetlb pages may share one struct page (vmemmap optimisation): what they say is not theirs.
    row = np.where(head >= 0, head, 0)
    covered = heads.compound[row] & (head >= 0) & (heads.type[row] != page_type.HUGETLB) & ~heads.torn[row]
    tail = covered & (heads.pfn[row] != view.pages.pfn)
    astray = np.flatnonzero(tail & (_points_to(view) != heads.pfn[row]))

    def text(index: int) -> str:
        at = int(astray[index])
        first, n = int(heads.pfn[row[at]]), int(heads.n[row[at]])
        return f"lies in the compound page of {n} pages at PFN 0x{first:x}, but is no tail of it"

    yield Findings("compound", astray + view.start, text)
    references = np.ascontiguousarray(view.pages.rows["refcount"]).view(np.int32)
    held = np.flatnonzero(tail & (references != 0))
    yield Findings(
        "compound",
        held + view.start,
        lambda index: f"is a tail page, but has a refcount of its own: {int(references[held[index]])}",
    )


def _points_to(view: View) -> I64:
    """PFN of the head that each page's compound_head leads to; -1 where it is no tail."""
    layout = view.heads.layout
    word = np.ascontiguousarray(view.pages.rows["word1"])
    own = layout.sections.page_address(view.pages.pfn)
    target = own & word if layout.masked_head else word - np.uint64(1)
    return np.where((word & np.uint64(1)) != 0, layout.sections.page_pfn(target), -1)


def buddy(view: View) -> Iterator[Findings]:
    """A free block has an order that exists, lies at a multiple of its size, and contains no other block."""
    layout, rows, pfn = view.heads.layout, view.pages.rows, view.pages.pfn
    typed = layout.types.codes(np.ascontiguousarray(rows["mapcount"]).view(np.uint32)) == page_type.BUDDY
    tail = (rows["word1"] & np.uint64(1)) != 0
    at = np.flatnonzero(typed & view.pages.valid & ~(tail & _compound(view)))
    order = rows["private"][at]
    strange = order > np.uint64(layout.max_order)
    small = np.where(strange, 0, order).astype(np.int64)
    crooked = ~strange & (pfn[at] % (np.int64(1) << small) != 0)
    yield Findings(
        "buddy",
        pfn[at[strange]],
        lambda i: f"is a free block of order {int(order[strange][i])}; the largest is {layout.max_order}",
    )
    yield Findings(
        "buddy",
        pfn[at[crooked]],
        lambda i: f"is a free block of order {int(small[crooked][i])}, but no multiple of its size",
    )
    good = ~strange & ~crooked
    yield _nested(view, at[good], small[good])


def _compound(view: View) -> Bools:
    head = view.pages.head
    return np.asarray(view.heads.compound[np.where(head >= 0, head, 0)] & (head >= 0))


def _nested(view: View, at: I64, order: I64) -> Findings:
    """Blocks that begin within another one."""
    reach = np.maximum.accumulate(np.concatenate(([0], at + (np.int64(1) << order))))[:-1]
    inner = at[at < reach]

    def text(index: int) -> str:
        outer = at[np.searchsorted(at, inner[index]) - 1]
        return f"begins a free block within another one, at PFN 0x{int(outer) + view.start:x}"

    return Findings("buddy", inner + view.start, text)


def free_words(view: View) -> Iterator[Findings]:
    """A free page has no reference, no mapping, no memory cgroup, and none of the flags of a page in use."""
    rows, head = view.pages.rows, view.pages.head
    names = read_page_flags(view.kernel)
    allowed = sum({flag_mask(view.kernel, name) for name in _FREE_MAY})
    used = (view.pages.flags & np.uint64(names.mask & ~allowed)) != 0
    references = np.ascontiguousarray(rows["refcount"]).view(np.int32) != 0
    first = view.heads.pfn[np.where(head >= 0, head, 0)] == view.pages.pfn
    mapping = (rows["mapping"] != 0) & first
    charged = (rows["memcg"] != 0) if "memcg" in (rows.dtype.names or ()) else np.zeros(view.n, np.bool_)
    bad = np.flatnonzero(view.free & (used | references | mapping | charged))

    def text(index: int) -> str:
        at = int(bad[index])
        said = [
            f"refcount {int(np.int32(rows['refcount'][at].astype(np.int32)))}" if references[at] else "",
            f"flags {names.names.text(int(view.pages.flags[at]) & names.mask & ~allowed)}"
            if used[at]
            else "",
            f"mapping 0x{int(rows['mapping'][at]):x}" if mapping[at] else "",
            "a memory cgroup that pays for it" if charged[at] else "",
        ]
        return f"is free ({view.word(at)}), but has " + ", ".join(part for part in said if part)

    yield Findings("free-words", bad + view.start, text)


def zone(view: View) -> Iterator[Findings]:
    """A page that is not reserved lies within the zone that its flags name."""
    flags = read_page_flags(view.kernel)
    words = view.pages.flags
    reserved = np.uint64(flag_mask(view.kernel, "PG_reserved"))
    node, index = flags.node(words).astype(np.int64), flags.zone(words).astype(np.int64)
    zones = view.kernel.memo(read_zones).filter(pl.col("spanned") > 0)
    inside = np.zeros(view.n, np.bool_)
    for row in zones.iter_rows(named=True):
        mine = (node == row["node"]) & (index == row["zone_index"])
        end = row["start"] + row["spanned"]
        inside |= mine & (view.pages.pfn >= row["start"]) & (view.pages.pfn < end)
    device = view.kernel.constant("ZONE_DEVICE")
    bad = np.flatnonzero(view.pages.valid & ((words & reserved) == 0) & ~inside & (index != (device or 99)))
    yield Findings(
        "zone",
        bad + view.start,
        lambda i: (
            f"says that it is in zone {int(index[bad[i]])} of node {int(node[bad[i]])}, which ends elsewhere"
        ),
    )
