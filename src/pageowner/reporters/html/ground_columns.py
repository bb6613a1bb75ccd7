# SPDX-License-Identifier: LGPL-2.1-or-later
"""Physical memory as columns of a page: whose each page is, where it lies, and what stands in the way.

Where that would be too much for a file to mail, in grains of 2, 4, 8, … pages, and the page says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.analyses.blockers import MOVABLE, cut
from pageowner.analyses.diff import FREE
from pageowner.analyses.ground import coarser, without_gaps
from pageowner.analyses.picture import Picture
from pageowner.reporters.html.payload import packed_size
from pageowner.snapshot.blocked import blocked
from pageowner.snapshot.places import AGES

if TYPE_CHECKING:
    from pageowner.snapshot.model import Snapshot

LIMIT = 3_500_000
"""Bytes that the map may take in the page."""
_OWNER = ["owner"]
_PLACE = ["place", "mobility", "process", "age"]
_FEW = 16
"""A block is marked where no more than one of so many pages stands in the way."""
_LISTED = 40
Columns = dict[str, npt.ArrayLike]


def ground(snapshot: Snapshot, drawn: Picture, limit: int = LIMIT) -> tuple[dict[str, Any], Columns]:
    """What the header says of the map, and its columns: runs of pages from PFN 0 on, ``run_n`` and
    ``run_owner`` (0: no struct page, else the owner's number + 1); ``place_n`` and the numbers + 1 of zone,
    mobility, process and age; ``block_number`` and ``block_in_the_way`` of blocks that few pages spoil."""
    runs = _owned(snapshot.pages, drawn)
    places, names = _placed(snapshot, drawn)
    grain, columns = 1, _columns(runs, places)
    while (size := packed_size(columns)) > limit and grain < 1 << 20:
        grain *= 4 if size > 3 * limit else 2
        columns = _columns(coarser(runs, _OWNER, grain), coarser(places, _PLACE, grain))
    found, _ = blocked(snapshot, "pageblock")
    listed = found.units.select("pfn", "in_the_way", "free", "movable", pl.col("owners").list.head(3))
    first = listed.head(_LISTED).to_dicts()
    header = {"grain": grain, "order": _order(snapshot), "blockers": first, **names}
    return header, columns | _marked(snapshot, found.units)


def _marked(snapshot: Snapshot, units: pl.DataFrame) -> Columns:
    """``block_number`` and ``block_in_the_way`` of blocks that few pages spoil; ``way_pfn`` and ``way_n``:
    runs of these pages."""
    marked = units.filter(pl.col("in_the_way") * _FEW <= pl.col("n")).sort("pfn")
    obstacles = snapshot.groupings.get("obstacle")
    if obstacles is None:
        obstacles = snapshot.pages.filter(~pl.col("word").is_in([*MOVABLE, *FREE]))
    ways = cut(obstacles.select("pfn", "n"), marked.select("pfn", "n")).sort("pfn")
    return {
        "block_number": (marked.get_column("pfn") // marked.get_column("n")).to_numpy(),
        "block_in_the_way": marked.get_column("in_the_way").to_numpy(),
        "way_pfn": ways.get_column("pfn").to_numpy(),
        "way_n": ways.get_column("n").to_numpy(),
    }


def _columns(runs: pl.DataFrame, places: pl.DataFrame) -> Columns:
    columns: Columns = {f"run_{name}": runs.get_column(name).to_numpy() for name in ("n", *_OWNER)}
    return columns | {f"place_{name}": places.get_column(name).to_numpy() for name in ("n", *_PLACE)}


def _owned(pages: pl.DataFrame, drawn: Picture) -> pl.DataFrame:
    """The pages with the number of their owner + 1."""
    folded = drawn.owners.with_row_index("number", offset=1)
    own = folded.filter(pl.col("folded") == 0).select("word", "owner", own="number")
    rest = folded.filter(pl.col("folded") > 0).select("word", rest="number")
    joined = pages.join(own, on=["word", "owner"], how="left", maintain_order="left", nulls_equal=True)
    joined = joined.join(rest, on="word", how="left", maintain_order="left")
    number = pl.coalesce("own", "rest").fill_null(0).cast(pl.UInt32).alias("owner")
    return without_gaps(joined.select("pfn", "n", number).sort("pfn"), _OWNER)


def _placed(snapshot: Snapshot, drawn: Picture) -> tuple[pl.DataFrame, dict[str, list[Any]]]:
    """Runs of places as numbers + 1 (0: not known), and the names that these stand for."""
    table = snapshot.groupings.get("place")
    if table is None or not table.height:  # an older snapshot: zones are all that is known
        return without_gaps(_of_zones(drawn), _PLACE), {"mobilities": [], "processes": [], "ages": []}
    names = {name: table.get_column(name).drop_nulls().unique().sort() for name in ("mobility", "process")}
    zones = drawn.zones.select("node", "zone").with_row_index("place", offset=1)
    ages = pl.DataFrame({"seconds": AGES}, schema={"seconds": pl.Int32}).with_row_index("step", offset=1)
    rows = (
        table.join(zones, on=["node", "zone"], how="left", maintain_order="left")
        .join(ages, left_on="age", right_on="seconds", how="left", maintain_order="left")
        .with_columns(
            *(_number(table.get_column(name), known) for name, known in names.items()),
            pl.col("step").alias("age"),
        )
    )
    numbers = [pl.col(name).fill_null(0).cast(pl.UInt32) for name in _PLACE]
    lists: dict[str, list[Any]] = {
        "mobilities": names["mobility"].to_list(),
        "processes": names["process"].to_list(),
        "ages": list(AGES),
    }
    return without_gaps(rows.select("pfn", "n", *numbers).sort("pfn"), _PLACE), lists


def _of_zones(drawn: Picture) -> pl.DataFrame:
    known = drawn.zones.with_row_index("place", offset=1).filter(pl.col("spanned") > 0).sort("start")
    nothing = [pl.lit(0, pl.UInt32).alias(name) for name in _PLACE[1:]]
    return known.select(pl.col("start").alias("pfn"), pl.col("spanned").alias("n"), "place", *nothing)


def _number(column: pl.Series, known: pl.Series) -> pl.Series:
    numbers = {name: number for number, name in enumerate(known.to_list(), 1)}
    if not numbers:
        return pl.Series(column.name, np.zeros(len(column), np.uint32))
    return column.replace_strict(numbers, default=0, return_dtype=pl.UInt32)


def _order(snapshot: Snapshot) -> int:
    """The order of a pageblock; that of x86-64 where the source does not say."""
    table = snapshot.groupings.get("place")
    orders = table.get_column("block").drop_nulls() if table is not None else pl.Series(dtype=pl.Int8)
    return min(max(int(orders[0]), 1), 20) if len(orders) else 9
