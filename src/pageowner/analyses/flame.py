# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory in use as weighted stacks: what flame graphs and profile viewers take."""

from __future__ import annotations

import polars as pl

from pageowner.analyses.diff import FREE
from pageowner.analyses.groups import Tables

UNRECORDED = "(not recorded)"


def weighted_stacks(tables: Tables) -> pl.DataFrame:
    """A row per stack, owner, node, zone and order of all that is not free, most pages first.

    :returns: ``functions`` (list, innermost first), ``word``, ``owner``, ``node``, ``zone`` (number),
        ``order``, ``pages``. Pages without a recorded stack have the frames *owner*, *word*,
        ``(not recorded)`` instead.
    """
    owners = tables.owners.filter(~pl.col("word").is_in(FREE)).select("id", "word", "owner")
    stacks = tables.stacks.select("stack", pl.col("functions").str.split("\n"))
    joined = tables.usage.join(owners, on="id").join(stacks, on="stack", how="left")
    instead = pl.concat_list("owner", "word", pl.lit(UNRECORDED))
    by = ["word", "owner", "node", "zone", "order"]
    return (
        joined.with_columns(pl.col("functions").fill_null(instead))
        .select("functions", *by, "pages")
        .sort("pages", *by, descending=[True] + [False] * len(by), nulls_last=True)
    )


def by_stack(weighted: pl.DataFrame) -> pl.DataFrame:
    """``functions`` and ``pages`` of :func:`weighted_stacks`, summed by stack, most pages first."""
    text = pl.col("functions").list.join("\n").alias("text")
    summed = weighted.select(text, "pages").group_by("text").agg(pl.col("pages").sum())
    ordered = summed.sort("pages", "text", descending=[True, False])
    return ordered.select(pl.col("text").str.split("\n").alias("functions"), "pages")
