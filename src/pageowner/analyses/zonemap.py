# SPDX-License-Identifier: LGPL-2.1-or-later
"""Physical memory zone by zone: how much of what, and a picture of few cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.analyses.diff import FREE
from pageowner.analyses.ground import HOLE, coarser, without_gaps


@dataclass(frozen=True)
class Stretch:
    """Memory of one zone without long holes: ``cells``, a number each (0: a hole), ``grain`` pages a cell,
    from ``pfn``, the first page of the first cell. ``last``: the last page."""

    zone: int
    pfn: int
    last: int
    cells: npt.NDArray[np.int64]


def zone_types(pages: pl.DataFrame, places: pl.DataFrame, zones: pl.DataFrame) -> pl.DataFrame:
    """``node``, ``zone``, ``mobility``, ``blocks``, ``free``, ``used``: what each zone has of each type.

    Blocks are counted as the kernel does (pagetypeinfo_showblockcount() in mm/vmstat.c): a look at every
    block's length, from the zone's first page on. ``free`` and ``used`` are pages in blocks of the type, free
    ones without those on per-CPU lists.
    """
    rows = []
    for node, index, name, start, spanned in zones.select(
        "node", "zone_index", "zone", "start", "spanned"
    ).iter_rows():
        mine = places.filter((pl.col("node") == node) & (pl.col("zone") == index))
        rows.append(_types(mine, pages, start, spanned).with_columns(node=pl.lit(node), zone=pl.lit(name)))
    if not rows:
        return pl.DataFrame(schema=_TYPES_SCHEMA)
    return pl.concat(rows).select(pl.col(name).cast(kind) for name, kind in _TYPES_SCHEMA.items())


_TYPES_SCHEMA = {
    "node": pl.Int32,
    "zone": pl.String,
    "mobility": pl.String,
    "blocks": pl.Int64,
    "free": pl.Int64,
    "used": pl.Int64,
}


def _types(mine: pl.DataFrame, pages: pl.DataFrame, start: int, spanned: int) -> pl.DataFrame:
    inside = mine.filter((pl.col("pfn") < start + spanned) & (pl.col("pfn") + pl.col("n") > start))
    order = inside.get_column("block").drop_nulls()
    length = 1 << (int(order[0]) if len(order) else 9)
    samples = np.arange(start, start + spanned, length)
    pfn, n = (inside.get_column(name).to_numpy() for name in ("pfn", "n"))
    run = np.searchsorted(pfn, samples, "right") - 1
    good = (run >= 0) & (samples < (pfn + n)[run]) if len(pfn) else np.zeros(len(samples), np.bool_)
    kinds = inside.get_column("mobility").fill_null("unknown")
    blocks = kinds[run[good]].value_counts(name="blocks") if good.any() else _NO_BLOCKS
    cut = overlaps(inside.select("pfn", "n", mobility=kinds), pages.select("pfn", "n", "word"))
    free = pl.col("word") == FREE[0]
    sums = cut.group_by("mobility").agg(
        pl.col("n").filter(free).sum().alias("free"), pl.col("n").filter(~free).sum().alias("used")
    )
    joined = sums.join(blocks.cast({"blocks": pl.Int64}), on="mobility", how="full", coalesce=True)
    return joined.with_columns(pl.col("blocks", "free", "used").fill_null(0)).sort(
        "blocks", "mobility", descending=[True, False]
    )


_NO_BLOCKS = pl.DataFrame(schema={"mobility": pl.String, "blocks": pl.Int64})


def overlaps(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """The pieces that are in runs of *left* and of *right* (each by PFN, none over another), with the columns
    of both; ``pfn`` and ``n`` are those of the piece."""
    edges = np.unique(
        np.concatenate([f.get_column("pfn").to_numpy() + k * f.get_column("n").to_numpy()
                        for f in (left, right) for k in (0, 1)])
    )  # fmt: skip
    if len(edges) < 2:
        return left.head(0).join(right.drop("pfn", "n").head(0), how="cross")
    starts, ends = edges[:-1], edges[1:]
    rows = [np.searchsorted(f.get_column("pfn").to_numpy(), starts, "right") - 1 for f in (left, right)]
    inside = [
        (row >= 0) & (starts < (f.get_column("pfn") + f.get_column("n")).to_numpy()[row])
        if f.height else np.zeros(len(starts), np.bool_)
        for f, row in zip((left, right), rows, strict=True)
    ]  # fmt: skip
    both = inside[0] & inside[1]
    parts = [f.drop("pfn", "n")[row[both]] for f, row in zip((left, right), rows, strict=True)]
    place = pl.DataFrame({"pfn": starts[both], "n": (ends - starts)[both]})
    return pl.concat([place, *parts], how="horizontal")


def stretches(
    runs: pl.DataFrame, spans: list[tuple[int, int, int]], grain: int
) -> list[Stretch]:
    """The picture of *runs* (``pfn``, ``n``, ``number`` above 0, by PFN), in cells of *grain* pages.

    :param spans: of each stretch its zone, first PFN and the PFN after its last.
    """
    table = coarser(without_gaps(runs, ["number"]), ["number"], grain)
    ends = table.get_column("n").cum_sum().to_numpy() // grain
    numbers = table.get_column("number").to_numpy().astype(np.int64)
    found = []
    for zone, first, end in spans:
        cells = np.arange(first // grain, -(-end // grain))
        row = np.searchsorted(ends, cells, "right")
        known = row < len(numbers)
        values = np.full(len(cells), HOLE, np.int64)
        values[known] = numbers[row[known]]
        found.append(Stretch(zone, first // grain * grain, end - 1, values))
    return found


def spans_of(runs: pl.DataFrame, zones: pl.DataFrame, far: int) -> list[tuple[int, int, int]]:
    """Where *runs* lie in each of *zones*: row of the zone, first PFN, PFN after the last. Holes of more than
    *far* pages part them."""
    found = []
    for row, (start, spanned) in enumerate(zones.select("start", "spanned").iter_rows()):
        end = start + spanned
        mine = runs.filter((pl.col("pfn") < end) & (pl.col("pfn") + pl.col("n") > start))
        if not mine.height:
            continue
        first = np.maximum(mine.get_column("pfn").to_numpy(), start)
        last = np.minimum((mine.get_column("pfn") + mine.get_column("n")).to_numpy(), end)
        cut = np.flatnonzero(first[1:] - last[:-1] > far) + 1
        lows, highs = np.append(0, cut), np.append(cut, len(first))
        found += [(row, int(first[low]), int(last[high - 1])) for low, high in zip(lows, highs, strict=True)]
    return found
