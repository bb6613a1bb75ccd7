# SPDX-License-Identifier: LGPL-2.1-or-later
"""A part of a snapshot: the tables of those pages only that a filter asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from pageowner.analyses.balance import balance
from pageowner.analyses.filters import Filter, Lookup, matching, zone_names
from pageowner.analyses.groups import with_kinds
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.page_runs import SCHEMA as PAGE_SCHEMA
from pageowner.snapshot.usage import usage_table


def part_of(snapshot: Snapshot, wanted: Filter) -> Snapshot:
    """*snapshot* with the wanted pages alone.

    Groupings and counters that were counted over all of memory are left out, but those that the records say
    again. A snapshot without records can be asked for what its usage table says.

    :raises SourceError: when the snapshot does not say what the filter asks for.
    """
    part = replace(
        snapshot,
        counters=balance({}, {}),
        groupings={},
        about=snapshot.about | {"only": str(wanted)},
    )
    if not snapshot.records.width:
        usage = _usage(snapshot, wanted)
        pages = _pages(snapshot, wanted)
        return replace(part, usage=usage, owners=owners_of(snapshot.owners, usage), pages=pages)
    records = wanted_records(replace(snapshot, records=_cut(snapshot.records, wanted.edges)), wanted)
    usage = usage_of(snapshot, records)
    return replace(
        part,
        records=records,
        usage=usage,
        owners=owners_of(snapshot.owners, usage),
        pages=_runs(snapshot, records) if snapshot.pages.width else snapshot.pages,
        groupings=_groupings(snapshot, records),
    )


def wanted_records(snapshot: Snapshot, wanted: Filter) -> pl.DataFrame:
    """Those rows of the records that match."""
    now = int(str(snapshot.usage.get_column("youngest_ns").max() or 0))
    orders = snapshot.allocations.select("allocation", "order")
    units = snapshot.states.select("state", unit="order")
    rows = snapshot.records.join(units, on="state", how="left", maintain_order="left")
    rows = rows.join(orders, on="allocation", how="left", maintain_order="left").with_columns(
        order=pl.coalesce("order", "unit"), youngest_ns="ts_nsec", oldest_ns="ts_nsec"
    )
    return snapshot.records.filter(matching(rows, wanted.conditions(now), _lookups(snapshot)))


def _lookups(snapshot: Snapshot) -> dict[str, Lookup]:
    """What the keys of the records stand for; columns that say nothing at all are left out."""
    stacks = snapshot.stacks.select("stack", "functions")
    place = pl.col("node").cast(pl.Int64) * 256 + pl.col("zone")
    tables = {
        "id": snapshot.owners,
        "allocation": snapshot.allocations.join(stacks, on="stack", how="left"),
        "state": snapshot.states.with_columns(place=place).join(
            zone_names(snapshot.zones), on="place", how="left"
        ),
    }
    columns = {
        "id": ("word", "owner"),
        "allocation": ("pid", "tgid", "comm", "gfp", "functions"),
        "state": ("node", "zone_name", "migrate_type", "cgroup", "cma"),
    }
    found: dict[str, Lookup] = {}
    for key, table in tables.items():
        for name in columns[key]:
            if table.get_column(name).null_count() < table.height or name in ("cgroup", "cma"):
                found[name] = (key, lambda keys, table=table: table)  # type: ignore[misc]
    return found


def _cut(records: pl.DataFrame, edges: Iterable[int]) -> pl.DataFrame:
    """*records* with those runs cut in two that reach over one of the *edges*."""
    for edge in edges:
        over = (pl.col("pfn") < edge) & (pl.col("pfn") + pl.col("n") > edge)
        across = records.filter(over)
        if not across.height:
            continue
        end = pl.col("pfn") + pl.col("n")
        rest = across.with_columns(n=end - edge, pfn=pl.lit(edge, pl.Int64), head=pl.lit(False))
        ahead = pl.when(over).then(edge - pl.col("pfn")).otherwise("n").alias("n")
        records = pl.concat([records.with_columns(ahead), rest]).sort("pfn")
    return records


def usage_of(snapshot: Snapshot, records: pl.DataFrame) -> pl.DataFrame:
    """The usage table of some of the *records* of a snapshot."""
    stacks = snapshot.allocations.select("allocation", "stack")
    places = snapshot.states.select("state", "node", "zone", "order")
    rows = records.join(stacks, on="allocation", how="left").join(places, on="state", how="left")
    stamp = pl.col("ts_nsec").fill_null(0)
    return usage_table(rows.with_columns(pages=pl.col("n"), ts=stamp, ts_max=stamp))


def owners_of(owners: pl.DataFrame, usage: pl.DataFrame) -> pl.DataFrame:
    """Those of *owners* that *usage* knows, with its numbers of pages, most first."""
    pages = usage.group_by("id").agg(pl.col("pages").sum())
    kept = owners.drop("pages").join(pages, on="id").select(owners.columns)
    return kept.sort("pages", "word", "owner", descending=[True, False, False])


def _runs(snapshot: Snapshot, records: pl.DataFrame) -> pl.DataFrame:
    """The pages table of *records*: neighbours of one owner are one run."""
    ends = (pl.col("pfn") + pl.col("n")).shift(1)
    begins = (pl.col("pfn") != ends) | (pl.col("id") != pl.col("id").shift(1))
    runs = (
        records.with_columns(run=begins.fill_null(True).cum_sum())
        .group_by("run", maintain_order=True)
        .agg(pl.col("pfn").first(), pl.col("n").sum(), pl.col("id").first())
    )
    named = runs.join(snapshot.owners, on="id", how="left", maintain_order="left")
    keys = snapshot.pages.select("pfn", "key").set_sorted("pfn")
    whole = named.set_sorted("pfn").join_asof(keys, on="pfn", strategy="backward")
    return whole.select(PAGE_SCHEMA.keys())


def _groupings(snapshot: Snapshot, records: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Pages of *records* by node and by cgroup."""
    kinds = snapshot.owners.select("id", pl.col("word").alias("kind"))
    rows = records.join(kinds, on="id", how="left").join(snapshot.states, on="state", how="left")
    rows = rows.with_columns(pages=pl.col("n"))
    by_node = rows.group_by(pl.col("node").cast(pl.Int32), "kind").agg(pl.col("pages").sum())
    found = {"node": by_node.sort("node", "pages", "kind", descending=[False, True, False])}
    if "cgroup" in snapshot.groupings:
        found["cgroup"] = by_cgroup(rows.rename({"state": "number", "cgroup_state": "state"}))
    return found


def by_cgroup(rows: pl.DataFrame) -> pl.DataFrame:
    """``cgroup``, ``state``, ``pages``, ``pinned_by``, most first.

    :param rows: ``cgroup``, ``state`` (online or dying), ``kind``, ``pages``.
    """
    charged = rows.filter(pl.col("cgroup").is_not_null())
    states = charged.select("cgroup", "state").unique("cgroup")
    summed = with_kinds(charged.select("cgroup", "kind", "pages"), "cgroup", "pinned_by")
    named = summed.join(states, on="cgroup", maintain_order="left")
    return named.select("cgroup", "state", "pages", "pinned_by")


def _usage(snapshot: Snapshot, wanted: Filter) -> pl.DataFrame:
    """The usage table's own rows that match: of a snapshot without records."""
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
    """Its pages, where kind and owner are all that is asked for."""
    conditions = wanted.conditions()
    if not snapshot.pages.width or any(name not in ("word", "owner") for name, _ in conditions):
        return pl.DataFrame()
    return snapshot.pages.filter(matching(snapshot.pages, conditions, {}))
