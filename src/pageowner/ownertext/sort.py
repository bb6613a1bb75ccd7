# SPDX-License-Identifier: LGPL-2.1-or-later
"""page_owner_sort in one pass: group the records of a text, piece by piece, and put the groups in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from pageowner.ownertext.health import Health
from pageowner.ownertext.sort_fields import CMA, OTHERS, SLAB, VMALLOC, Fields
from pageowner.ownertext.sort_options import SortOptions
from pageowner.rawtext import carry, joined_bytes

_GROUPS_AT_ONCE = 1 << 18
# In page_owner_sort's order: what decides between groups that are equal in what is sorted by.
_CULL_ORDER = ("stack", "pid", "tgid", "comm", "released", "ator", "module")
_WHOLE = ("header", "text")
_TITLES = {
    "pid": ", PID {}",
    "tgid": ", TGID {}",
    "comm": ", task_comm_name: {}",
    "module": ", module: {}",
}
_ROWS = 50_000


@dataclass
class Sorted:
    """Groups of records, in order. ``frame``: ``times``, ``pages`` and the fields of each group's first
    record; ``texts``: what its ``text`` stands for.
    """

    frame: pl.DataFrame
    texts: list[bytes]
    health: Health


def sort_text(blocks: Iterable[bytes], options: SortOptions) -> Sorted:
    """Group and sort the records of a text of any size; memory goes by the number of groups."""
    fields = Fields(_wanted(options), options.keeps_ts)
    found = Sorted(pl.DataFrame(), fields.stacks.texts, Health())
    keys = _keys(options)
    parts: list[pl.DataFrame] = []
    for cuts in found.health.cuts(blocks):
        rows = _kept(fields.of(cuts), options)
        parts.append(_grouped(rows.with_columns(times=pl.lit(1, pl.Int64)), keys))
        if sum(part.height for part in parts) > _GROUPS_AT_ONCE and len(parts) > 1:
            parts = [_grouped(pl.concat(parts), keys)]
    if parts:
        found.frame = _ordered(_grouped(pl.concat(parts), keys), options, fields)
    return found


def sorted_text(found: Sorted, options: SortOptions) -> Iterator[bytes]:
    """The groups as page_owner_sort prints them."""
    texts = pl.Series([carry(text) for text in found.texts], dtype=pl.String)
    for part in found.frame.iter_slices(_ROWS):
        if "text" in part.columns:
            part = part.with_columns(stack=texts.gather(part.get_column("text")))
        line = _culled_line(options) if options.cull else _whole_line()
        yield joined_bytes(part.select(line).to_series())


def _wanted(options: SortOptions) -> frozenset[str]:
    wanted = {field for field, _ in options.order} | set(options.cull)
    wanted |= {"txt"} if not options.cull else set()
    wanted |= {field for field, chosen in options.lists if chosen is not None}
    if options.held_only:
        wanted.add("released")
    if not options.cull:
        wanted.add("ator")
    if "stack" in wanted:
        wanted.add("text")
    if "txt" in wanted:
        wanted |= set(_WHOLE)
    return frozenset(wanted - {"txt", "stack", "times", "pages"})


def _keys(options: SortOptions) -> list[str]:
    if not options.cull:
        return list(_WHOLE)
    return ["text" if field == "stack" else field for field in _CULL_ORDER if field in options.cull]


def _kept(rows: pl.DataFrame, options: SortOptions) -> pl.DataFrame:
    for field, chosen in options.lists:
        if chosen is not None:
            rows = rows.filter(pl.col(field).is_in(list(chosen)))
    return rows.filter(~pl.col("released")) if options.held_only else rows


def _grouped(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    others = [name for name in rows.columns if name not in keys and name not in ("times", "pages")]
    grouped = rows.group_by(keys, maintain_order=True).agg(
        pl.col("times").sum(), pl.col("pages").sum(), *(pl.col(name).first() for name in others)
    )
    return grouped.select(rows.columns)


def _ordered(groups: pl.DataFrame, options: SortOptions, fields: Fields) -> pl.DataFrame:
    if "text" in groups.columns:
        groups = groups.with_columns(rank=fields.stacks.ranks().gather(groups.get_column("text")))
    by: list[str] = []
    descending: list[bool] = []
    ties = ("header", "stack") if not options.cull else tuple(f for f in _CULL_ORDER if f in options.cull)
    for field, down in (*options.order, *((tie, False) for tie in ties)):
        for column in ("header", "rank") if field == "txt" else ("rank",) if field == "stack" else (field,):
            if column not in by:
                by.append(column)
                descending.append(down)
    return groups.sort(by, descending=descending, maintain_order=True)


def _whole_line() -> pl.Expr:
    counts = pl.format("{} times, {} pages, ", "times", "pages")
    return pl.concat_str(counts, _allocator(), pl.lit(":\n"), "header", "stack", pl.lit("\n")).alias("line")


def _culled_line(options: SortOptions) -> pl.Expr:
    cull = options.cull
    parts: list[pl.Expr] = [pl.format("{} times, {} pages", "times", "pages")]
    for field, chosen in options.lists:
        if field in cull or chosen is not None:
            parts.append(pl.format(_TITLES[field], field))
    if "ator" in cull:
        parts += [pl.lit(", "), _allocator()]
    if "released" in cull:
        parts.append(pl.when("released").then(pl.lit(" (RELEASED)")).otherwise(pl.lit(" (UNRELEASED)")))
    if "stack" in cull:
        parts += [pl.lit(":\n"), pl.col("stack")]
    return pl.concat_str([*parts, pl.lit("\n")]).alias("line")


def _allocator() -> pl.Expr:
    names = ((CMA, "CMA "), (SLAB, "SLAB "), (VMALLOC, "VMALLOC "), (OTHERS, "OTHERS "))
    ator = pl.col("ator")
    parts = [pl.when((ator & bit) != 0).then(pl.lit(name)).otherwise(pl.lit("")) for bit, name in names]
    return pl.concat_str([pl.lit("allocated by "), *parts])
