# SPDX-License-Identifier: LGPL-2.1-or-later
"""A part of a snapshot: the tables of those pages only that a filter asks for."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from pageowner.analyses.balance import balance
from pageowner.analyses.filters import Filter, Lookup, matching, zone_names
from pageowner.snapshot.tables import Snapshot


def part_of(snapshot: Snapshot, wanted: Filter) -> Snapshot:
    """*snapshot* with the wanted pages alone; itself when all are wanted.

    Where a table cannot tell which of its pages are meant, it is left out: groupings that were counted, the
    kernel's counters, and pages of a snapshot without records.

    :raises SourceError: when the snapshot does not say what the filter asks for.
    """
    if not wanted:
        return snapshot
    usage = _usage(snapshot, wanted)
    return replace(
        snapshot,
        usage=usage,
        owners=owners_of(snapshot.owners, usage),
        pages=_pages(snapshot, wanted),
        counters=balance({}, {}),
        groupings={},
    )


def owners_of(owners: pl.DataFrame, usage: pl.DataFrame) -> pl.DataFrame:
    """Those of *owners* that *usage* knows, with its numbers of pages, most first."""
    pages = usage.group_by("id").agg(pl.col("pages").sum())
    kept = owners.drop("pages").join(pages, on="id").select(owners.columns)
    return kept.sort("pages", "word", "owner", descending=[True, False, False])


def _usage(snapshot: Snapshot, wanted: Filter) -> pl.DataFrame:
    usage = snapshot.usage
    now = usage.get_column("youngest_ns").max()
    lookups: dict[str, Lookup] = {
        "word": ("id", lambda keys: snapshot.owners),
        "owner": ("id", lambda keys: snapshot.owners),
        "functions": ("stack", lambda keys: snapshot.stacks),
        "zone_name": ("place", lambda keys: zone_names(snapshot.zones)),
    }
    rows = usage.with_columns(place=pl.col("node").cast(pl.Int64) * 256 + pl.col("zone"))
    return usage.filter(matching(rows, wanted.conditions(int(str(now or 0))), lookups))


def _pages(snapshot: Snapshot, wanted: Filter) -> pl.DataFrame:
    conditions = wanted.conditions()
    if not snapshot.pages.width or any(name not in ("word", "owner") for name, _ in conditions):
        return pl.DataFrame()
    return snapshot.pages.filter(matching(snapshot.pages, conditions, {}))
