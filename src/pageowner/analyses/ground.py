# SPDX-License-Identifier: LGPL-2.1-or-later
"""All of physical memory as few numbers: runs without gaps; where they are too many, in coarser grains."""

from __future__ import annotations

import polars as pl

HOLE = 0
"""The number of what has no struct page."""


def without_gaps(runs: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """*runs* (``pfn``, ``n`` and *columns*, by PFN) from PFN 0 on, gaps filled with rows of :data:`HOLE`.

    :returns: ``n`` and *columns*; neighbours that agree are one row.
    """
    start, end = pl.col("pfn"), pl.col("pfn") + pl.col("n")
    before = end.shift().fill_null(0)
    gaps = runs.select(
        before.alias("pfn"), (start - before).alias("n"), *(pl.lit(HOLE).alias(name) for name in columns)
    ).filter(pl.col("n") > 0)
    wanted = ["pfn", "n", *columns]
    both = pl.concat([runs.select(wanted), gaps], how="vertical_relaxed").sort("pfn")
    differs = [pl.col(name) != pl.col(name).shift() for name in columns]
    at = pl.any_horizontal(differs).fill_null(True).cum_sum().alias("_run")
    joined = both.with_columns(at).group_by("_run", maintain_order=True)
    return joined.agg(pl.col("n").sum(), *(pl.col(name).first() for name in columns)).drop("_run")


def coarser(runs: pl.DataFrame, columns: list[str], grain: int) -> pl.DataFrame:
    """*runs* in grains of *grain* pages (a power of two), each with the numbers that most of its pages have.

    :returns: ``n`` (a multiple of *grain*) and *columns*, as :func:`without_gaps`.
    """
    end = pl.col("n").cum_sum()
    placed = runs.with_columns(pfn=end - pl.col("n"), end=end)
    first, last = pl.col("pfn") // grain, (pl.col("end") - 1) // grain
    inner = last - first > 1  # what fills whole grains needs no vote
    count = ((last - first - 1) * grain).alias("n")
    whole = placed.filter(inner).select(((first + 1) * grain).alias("pfn"), count, *columns)
    cut = placed.with_columns(grains=pl.concat_list(first, last).list.unique()).explode("grains")
    start = pl.max_horizontal("pfn", pl.col("grains") * grain)
    stop = pl.min_horizontal("end", (pl.col("grains") + 1) * grain)
    votes = cut.with_columns(votes=stop - start).group_by("grains", *columns).agg(pl.col("votes").sum())
    ranked = votes.sort("grains", "votes", *columns, descending=[False, True] + [False] * len(columns))
    won = ranked.unique("grains", keep="first", maintain_order=True)
    edges = won.select((pl.col("grains") * grain).alias("pfn"), pl.lit(grain).alias("n"), *columns)
    return without_gaps(pl.concat([whole, edges], how="vertical_relaxed").sort("pfn"), columns)
