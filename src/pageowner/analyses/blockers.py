# SPDX-License-Identifier: LGPL-2.1-or-later
"""Units of memory that would be free but for a few pages that cannot be moved: who stands in the way.

A unit is any run of page frames that somebody wants as a whole: a pageblock for a huge page, a memory block
to be taken offline, a CMA area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pageowner.analyses.diff import FREE
from pageowner.analyses.names import short_stack

MOVABLE = (
    "AIO_RING_PAGE",
    "ANON_PAGE",
    "BDEV_PAGE",
    "FILE_PAGE",
    "KSM_PAGE",
    "SHMEM_PAGE",
    "SWAPCACHE_PAGE",
    "ZSMALLOC_PAGE",
)
"""Kinds that the kernel moves, unless somebody holds them."""
NEVER = ("KERNEL_IMAGE_PAGE", "RESERVED_PAGE")
"""Kinds that were there before the allocator: units with these were never to be had."""
ISOLATED_TOO = ("HUGETLB_PAGE",)
"""Kinds that move out of memory that is to be emptied (offlining, CMA), but not for a huge page."""

KIND, PINNED, REFERENCED, BUFFERS = "kind", "pinned", "referenced", "buffers"
"""Why a page cannot move: its kind never does; pinned for I/O (FOLL_PIN); referenced by somebody who is not
known, or only for a moment; with a buffer that a file system holds."""

_NUMBERS = ("pfn", "n", "free", "movable", "in_the_way")


@dataclass(frozen=True)
class Blockers:
    """``units``: those with something in the way, the least first: ``name``, ``types`` (of its pageblocks),
    ``pfn``, ``n``, and of its pages those that are ``free``, ``movable`` and ``in_the_way``; ``owners`` of
    the last: ``word``, ``owner``, ``why``, ``stack``, ``pages``, ``pfn`` (the first), most pages first.

    ``free``, ``movable``: units that are free, or become so when what is movable moves; ``fixed``: those with
    holes, reserved memory or the kernel's image, which are not asked about."""

    units: pl.DataFrame
    free: pl.DataFrame
    movable: pl.DataFrame
    fixed: int


def blockers(
    pages: pl.DataFrame, obstacles: pl.DataFrame, units: pl.DataFrame, isolated: bool = False
) -> Blockers:
    """What stands in the way in each of *units*.

    :param pages: runs of pages: ``pfn``, ``n``, ``word``.
    :param obstacles: runs of those that cannot move: ``pfn``, ``n``, ``word``, ``owner``, ``why``, ``stack``
        (functions, a line each).
    :param units: ``name``, ``types``, ``pfn``, ``n``; by PFN, none over another.
    :param isolated: they are to be emptied by isolation: :data:`ISOLATED_TOO` moves.
    """
    held = cut(obstacles, units)
    if isolated:
        held = held.filter(~pl.col("word").is_in(ISOLATED_TOO) | (pl.col("why") != KIND))
    sums = _sums(pages, held, units)
    asked = sums.filter((pl.col("all") == pl.col("n")) & ~pl.col("never"))
    found = asked.filter(pl.col("in_the_way") > 0).join(_owners(held), on="unit", how="left")
    numbers = [pl.col(name).cast(pl.Int64) for name in _NUMBERS]
    empty = asked.filter(pl.col("in_the_way") == 0)
    return Blockers(
        units=found.select("name", "types", *numbers, "owners").sort("in_the_way", "movable", "pfn"),
        free=empty.filter(pl.col("movable") == 0).select("name", "pfn", "n"),
        movable=empty.filter(pl.col("movable") > 0).select("name", "pfn", "n"),
        fixed=sums.height - asked.height,
    )


def _sums(pages: pl.DataFrame, held: pl.DataFrame, units: pl.DataFrame) -> pl.DataFrame:
    """*units* with ``all`` (pages that are there), ``free``, ``movable``, ``in_the_way``, ``never``."""
    free = pl.col("n").filter(pl.col("word").is_in(FREE)).sum()
    there = cut(pages, units).group_by("unit").agg(pl.col("n").sum().alias("all"), free.alias("free"))
    never = pl.col("word").is_in(NEVER).any().alias("never")
    taken = held.group_by("unit").agg(pl.col("n").sum().alias("in_the_way"), never)
    sums = _numbered(units).join(there, on="unit", how="left").join(taken, on="unit", how="left")
    sums = sums.with_columns(pl.col("all", "free", "in_the_way").fill_null(0))
    known = sums.with_columns(pl.col("never").fill_null(False))
    return known.with_columns(movable=pl.col("n") - pl.col("free") - pl.col("in_the_way"))


def _numbered(units: pl.DataFrame) -> pl.DataFrame:
    return units.with_row_index("unit").with_columns(pl.col("unit").cast(pl.Int64))


def cut(runs: pl.DataFrame, units: pl.DataFrame) -> pl.DataFrame:
    """*runs* (``pfn``, ``n``, …) cut where units begin and end, and ``unit``, its row; the rest is left out.

    :param units: ``pfn``, ``n``; by PFN, none over another.
    """
    starts = units.get_column("pfn").to_numpy()
    ends = starts + units.get_column("n").to_numpy()
    first, n = runs.get_column("pfn").to_numpy(), runs.get_column("n").to_numpy()
    low = np.searchsorted(ends, first, side="right")
    high = np.searchsorted(starts, first + n, side="left")
    reach = np.maximum(high - low, 0)
    rows = np.repeat(np.arange(len(first)), reach)
    unit = np.arange(int(reach.sum())) - np.repeat(np.cumsum(reach) - reach, reach) + np.repeat(low, reach)
    begin = np.maximum(first[rows], starts[unit])
    end = np.minimum((first + n)[rows], ends[unit])
    return runs[rows].with_columns(
        pl.Series("unit", unit, pl.Int64), pl.Series("pfn", begin), pl.Series("n", end - begin)
    )


def aligned(pages: pl.DataFrame, size: int) -> pl.DataFrame:
    """The units of *size* pages (a power of two), at multiples of it, that *pages* reach into."""
    last = (pl.col("pfn") + pl.col("n") - 1) // size
    numbers = pages.select(pl.int_ranges(pl.col("pfn") // size, last + 1).alias("block")).explode("block")
    first = (pl.col("block").cast(pl.Int64) * size).alias("pfn")
    size_of_each = pl.lit(size, pl.Int64).alias("n")
    return numbers.unique().sort("block").select(pl.lit("").alias("name"), first, size_of_each)


def with_types(units: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """*units* with ``types``: migrate types of their pageblocks, ``Movable`` or ``Movable 60, Unmovable 4``.

    :param places: runs of pages: ``pfn``, ``n``, ``block`` (order of a pageblock), ``mobility``.
    """
    parts = cut(places.filter(pl.col("mobility").is_not_null()), units)
    blocks = -(-pl.col("n").sum() // (pl.lit(1, pl.Int64) * 2 ** pl.col("block").first().cast(pl.Int64)))
    sums = parts.group_by("unit", "mobility").agg(blocks.cast(pl.Int64).alias("blocks"))
    sums = sums.sort("blocks", "mobility", descending=[True, False])
    one = pl.col("mobility").first()
    many = pl.format("{} {}", "mobility", "blocks").str.join(", ")
    types = pl.when(pl.len() == 1).then(one).otherwise(many).alias("types")
    said = sums.group_by("unit", maintain_order=True).agg(types)
    told = _numbered(units).join(said, on="unit", how="left", maintain_order="left")
    return told.with_columns(pl.col("types").fill_null("")).drop("unit")


def _owners(held: pl.DataFrame) -> pl.DataFrame:
    columns = ("word", "owner", "why", "stack")
    sums = held.group_by("unit", *columns).agg(pl.col("n").sum().alias("pages"), pl.col("pfn").min())
    ordered = sums.sort("pages", "pfn", descending=[True, False])
    short = ordered.with_columns(short_stack(pl.col("stack")))
    each = pl.struct(*columns, "pages", "pfn").alias("owners")
    return short.group_by("unit", maintain_order=True).agg(each)
