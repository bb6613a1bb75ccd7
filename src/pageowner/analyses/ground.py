# SPDX-License-Identifier: LGPL-2.1-or-later
"""All of physical memory as few numbers: runs without gaps; where they are too many, in coarser grains."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

Numbers = npt.NDArray[np.int64]
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

    :param runs: of :func:`without_gaps`; *columns* are numbers of 0 or more.
    :returns: ``n`` (a multiple of *grain*) and *columns*, as :func:`without_gaps`.
    """
    ends = np.cumsum(runs.get_column("n").to_numpy())
    starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    kind = _kinds(runs, columns)
    first, last = starts // grain, (ends - 1) // grain
    head, tail = np.minimum(ends, (first + 1) * grain) - starts, ends - last * grain
    more = last > first  # a run votes in the grains at its ends; those between are its own
    at, won = _winners(
        np.concatenate((first, last[more])),
        np.concatenate((kind, kind[more])),
        np.concatenate((head, tail[more])),
    )
    own = last - first > 1
    place = np.concatenate((at, first[own] + 1))
    count = np.concatenate((np.ones(len(at), np.int64), (last - first - 1)[own]))
    order = np.argsort(place, kind="stable")
    kinds, counts = np.concatenate((won, kind[own]))[order], count[order]
    edge = _edges(kinds)
    n = np.add.reduceat(counts, edge) * grain if len(edge) else counts
    rows = np.unique(kind, return_index=True)[1]  # a row that has these numbers
    picked = rows[np.searchsorted(kind[rows], kinds[edge])]
    return pl.DataFrame({"n": n}).hstack(runs.select(columns)[picked])


def _kinds(runs: pl.DataFrame, columns: list[str]) -> Numbers:
    """One number for each row of *columns*, the same where all are the same."""
    kind = np.zeros(runs.height, np.int64)
    for name in columns:
        values = runs.get_column(name).to_numpy().astype(np.int64)
        kind = np.unique(kind * (int(values.max(initial=0)) + 1) + values, return_inverse=True)[1]
    return kind


def _winners(grain: Numbers, kind: Numbers, votes: Numbers) -> tuple[Numbers, Numbers]:
    """The grains that are voted on, and the kind with most votes in each (the lowest of those alike)."""
    if not len(grain):
        return grain, kind
    kinds = int(kind.max()) + 1
    both = grain * kinds + kind
    order = np.argsort(both, kind="stable")
    both = both[order]
    edge = _edges(both)
    sums = np.add.reduceat(votes[order], edge)
    grain, kind = both[edge] // kinds, both[edge] % kinds
    start = _edges(grain)
    most = np.repeat(np.maximum.reduceat(sums, start), np.diff(np.append(start, len(grain))))
    winners = np.flatnonzero(sums == most)
    best = winners[_edges(grain[winners])]
    return grain[best], kind[best]


def _edges(numbers: Numbers) -> npt.NDArray[np.intp]:
    """Where a run of equal *numbers* begins."""
    return np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)])
