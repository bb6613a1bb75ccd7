# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables of a snapshot with numbers in the place of names: what pictures are drawn of."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pageowner.analyses.groups import Tables
from pageowner.analyses.names import allocator_frames

MOST_OWNERS = 50_000
"""Beyond these, the owners with fewest pages are one owner of their kind: a host has a million inodes."""


@dataclass(frozen=True)
class Picture:
    """What pictures are drawn of; a row's number is its name elsewhere.

    ``owners``: ``word``, ``owner``, ``pages``, ``folded`` (how many owners it stands for, 0: itself), most
    pages first. ``usage``: ``owner``, ``stack`` (0: not recorded, else row + 1), ``place`` (row of *zones*),
    ``pages``. ``stacks``: ``stack`` (key), ``functions`` (list, innermost first), ``tip`` (how many of them
    are the allocator's own). ``zones``: as in the snapshot. ``ids``: the owner's number by ``id``.
    """

    owners: pl.DataFrame
    usage: pl.DataFrame
    stacks: pl.DataFrame
    zones: pl.DataFrame
    ids: pl.DataFrame

    def stack_numbers(self) -> pl.DataFrame:
        """``stack`` (key) and ``number``, as in ``usage``."""
        return _numbered(self.stacks.select("stack"))


def picture(tables: Tables, zones: pl.DataFrame, more_stacks: pl.DataFrame | None = None) -> Picture:
    """Number the owners, stacks and zones of *tables*.

    :param more_stacks: a stacks table whose stacks are to have numbers as well.
    """
    folded, ids = _fold(tables.owners)
    known = [tables.stacks] if more_stacks is None else [tables.stacks, more_stacks]
    stacks = pl.concat([table.select("stack", "functions") for table in known]).unique(
        "stack", keep="first", maintain_order=True
    )
    places = _places(tables.usage, zones)
    usage = (
        tables.usage.join(ids, on="id")
        .join(_numbered(stacks.select("stack")), on="stack", how="left")
        .join(places.with_row_index("place").select("node", "zone", "place"), on=["node", "zone"])
        .group_by("owner", pl.col("number").fill_null(0).alias("stack"), "place")
        .agg(pl.col("pages").sum())
        .sort("owner", "stack", "place")
    )
    text = pl.col("functions")
    listed = stacks.select("stack", text.str.split("\n"), allocator_frames(text).alias("tip"))
    return Picture(folded, usage, listed, places, ids)


def _fold(owners: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The owners table with the smallest ones made one of each kind, and ``id``, ``owner`` (row there)."""
    ranked = owners.sort("pages", "word", "owner", descending=[True, False, False])
    kept, rest = ranked.head(MOST_OWNERS), ranked.slice(MOST_OWNERS)
    sums = rest.group_by("word").agg(pl.col("pages").sum(), pl.len().cast(pl.Int64).alias("folded"))
    sums = sums.sort("pages", "word", descending=[True, False])
    columns = ["word", "owner", "pages", "folded"]
    own = kept.with_columns(pl.lit(0, pl.Int64).alias("folded")).select(columns)
    others = sums.with_columns(owner=pl.format("{} smaller owners", "folded"))
    table = pl.concat([own, others.select(columns)])
    at = sums.select("word").with_row_index("owner", offset=kept.height)
    ids = pl.concat(
        [
            kept.with_row_index("number").select("id", pl.col("number").alias("owner")),
            rest.select("id", "word").join(at, on="word").select("id", "owner"),
        ]
    )
    return table, ids


def _places(usage: pl.DataFrame, zones: pl.DataFrame) -> pl.DataFrame:
    """*zones*, with a row for each pair of node and zone that *usage* has beside them."""
    named = zones.select(
        pl.col("node").cast(pl.Int16),
        pl.col("zone_index").cast(pl.Int8).alias("zone"),
        pl.col("zone").alias("name"),
        *(pl.col(name).cast(pl.Int64) for name in ("start", "spanned", "present", "managed")),
    ).unique(["node", "zone"], maintain_order=True)
    met = usage.select("node", "zone").unique().join(named, on=["node", "zone"], how="anti")
    others = met.select("node", "zone", pl.format("zone {}", "zone").alias("name"))
    return pl.concat([named, others.sort("node", "zone")], how="diagonal").fill_null(0)


def _numbered(keys: pl.DataFrame) -> pl.DataFrame:
    return keys.with_row_index("number", offset=1)
