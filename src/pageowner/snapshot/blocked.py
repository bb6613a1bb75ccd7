# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stands in the way in the units of a snapshot: pageblocks, memory blocks, CMA areas, any size."""

from __future__ import annotations

from typing import Literal

import polars as pl

from pageowner.analyses.blockers import KIND, MOVABLE, Blockers, aligned, blockers, cut, with_types
from pageowner.analyses.diff import FREE
from pageowner.analyses.filters import Filter
from pageowner.errors import SourceError
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.part import part_of

Unit = Literal["pageblock", "block", "cma"] | int
"""A sort of unit, or a number of pages."""

NEEDED = ("place", "obstacle", "unit")
"""The groupings that :func:`blocked` needs."""
_PAGEBLOCK = 1 << 9
_NONE = {
    "block": "this kernel has no memory blocks to take offline (CONFIG_MEMORY_HOTPLUG is not set)",
    "cma": "this kernel has no CMA areas",
}


def blocked(
    snapshot: Snapshot, unit: Unit, wanted: Filter | None = None
) -> tuple[Blockers, list[str]]:
    """Who is in the way in each *unit* of the memory of *snapshot*; and remarks, lines for standard error.

    :param wanted: ask only about units in which some such pages are in the way.
    :raises SourceError: when it does not say where its pages are, or has no such units.
    """
    if not snapshot.pages.height:
        raise SourceError("this source does not say where its pages are: record it anew, or give a core")
    units, remarks = _units(snapshot, unit)
    obstacles = snapshot.groupings.get("obstacle")
    if obstacles is None:
        remarks.append("recorded by an older version: pinned pages and stacks are not known; record it anew")
    named = _by_kind(snapshot.pages) if obstacles is None else _named(snapshot, obstacles)
    if wanted:
        units = _with(units, named, snapshot, wanted)
    places = snapshot.groupings.get("place")
    types = units.with_columns(types=pl.lit("")) if places is None else with_types(units, places)
    return blockers(snapshot.pages, named, types, isolated=unit in _NONE), remarks


def _units(snapshot: Snapshot, unit: Unit) -> tuple[pl.DataFrame, list[str]]:
    if not isinstance(unit, str):
        return aligned(snapshot.pages, unit), []
    if unit == "pageblock":
        return aligned(snapshot.pages, _pageblock(snapshot)), []
    if "unit" not in snapshot.groupings:
        raise SourceError("recorded by an older version, without memory blocks and CMA areas: record it anew")
    found = snapshot.groupings["unit"].filter(pl.col("unit") == unit).sort("pfn")
    if not found.height:
        raise SourceError(_NONE[unit])
    offline = found.filter(pl.col("state") == "offline").get_column("name").to_list()
    rest = found.filter(pl.col("state") != "offline").select("name", "pfn", "n")
    return _apart(rest), [f"offline already: {', '.join(offline)}"] if offline else []


def _with(units: pl.DataFrame, obstacles: pl.DataFrame, snapshot: Snapshot, wanted: Filter) -> pl.DataFrame:
    """Those of *units* in which some of the *obstacles* are *wanted*."""
    pages = part_of(snapshot, wanted).pages
    if not pages.width:
        raise SourceError("recorded without single records: of the filters only --kind and --owner work")
    asked = cut(obstacles.select("pfn", "n"), pages.select("pfn", "n").sort("pfn")).drop("unit")
    return units[cut(asked, units).get_column("unit").unique().sort()]


def _apart(units: pl.DataFrame) -> pl.DataFrame:
    """*units* without those that, in damaged memory, lie over another."""
    ends = (pl.col("pfn") + pl.col("n")).cum_max().shift(fill_value=0)
    return units.filter((pl.col("pfn") >= ends) & (pl.col("n") > 0))


def _pageblock(snapshot: Snapshot) -> int:
    """Pages of a pageblock; what most kernels have where it is not recorded."""
    places = snapshot.groupings.get("place")
    order = None if places is None else places.get_column("block").max()
    return _PAGEBLOCK if order is None else 1 << max(int(str(order)), 1)


def _named(snapshot: Snapshot, obstacles: pl.DataFrame) -> pl.DataFrame:
    owners = snapshot.owners.select("id", "word", "owner").unique("id", keep="first")
    named = obstacles.join(owners, on="id", how="left", maintain_order="left")
    stacks = snapshot.stacks.select("stack", "functions").unique("stack", keep="first")
    told = named.join(stacks, on="stack", how="left", maintain_order="left")
    text = {"stack": pl.col("functions").fill_null(""), "word": pl.col("word").fill_null("UNKNOWN_PAGE")}
    return told.with_columns(**text, owner=pl.col("owner").fill_null(""))


def _by_kind(pages: pl.DataFrame) -> pl.DataFrame:
    """All that is known without the table of obstacles: which kinds never move."""
    fixed = pages.filter(~pl.col("word").is_in([*MOVABLE, *FREE]))
    return fixed.with_columns(why=pl.lit(KIND), stack=pl.lit(""))
