# SPDX-License-Identifier: LGPL-2.1-or-later
"""``report`` of a snapshot: the records' texts made again from its tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from pageowner.analyses.filters import Filter
from pageowner.errors import SourceError
from pageowner.ownertext.columns import HEADER_SCHEMA, header_lines, pfn_lines
from pageowner.rawtext import escape_carried, visible_lines
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.part import wanted_records

_ROWS = 100_000
_PARTS = {"pid": ("pid",), "tgid": ("tgid", "comm"), "ts": ("ts_nsec",), "free_ts": ("free_ts_nsec",)}


def recorded_tables(
    snapshot: Snapshot, path: Path, wanted: Filter, owners: bool = True, visible: bool = False
) -> Iterator[pl.DataFrame]:
    """The tables that :func:`pageowner.snapshot.report.report_tables` gives of the source, without mappings.

    :param path: of the snapshot, for errors.
    :param visible: control characters in comm as ``\\ooo``.
    :raises SourceError: when it was recorded without its records.
    """
    if not snapshot.records.width:
        raise SourceError(f"{path} was recorded without its records: record it anew, without --no-records")
    heads = _blocks(snapshot)
    if wanted:
        heads = wanted_records(replace(snapshot, records=heads), wanted)
    for part in heads.iter_slices(_ROWS):
        yield _texts(snapshot, part, owners, visible)


def _blocks(snapshot: Snapshot) -> pl.DataFrame:
    """The rows that begin a record, ``n`` being the pages of the whole block."""
    orders = snapshot.allocations.select("allocation", block=pl.col("order").cast(pl.Int64))
    units = snapshot.states.select("state", unit=pl.col("order").cast(pl.Int64))
    heads = (
        snapshot.records.filter("head")
        .join(orders, on="allocation", how="left", maintain_order="left")
        .join(units, on="state", how="left", maintain_order="left")
    )
    order = pl.coalesce("block", "unit")
    size = pl.lit(2, pl.Int64).pow(pl.when(order.is_between(0, 18)).then(order).otherwise(0))
    return heads.with_columns(n=size.cast(pl.Int64)).select(snapshot.records.columns)


def _texts(snapshot: Snapshot, heads: pl.DataFrame, owners: bool, visible: bool) -> pl.DataFrame:
    frame = _columns(snapshot, heads)
    if visible:
        frame = _visible(frame)
    charged = pl.col("charged").str.len_bytes() > 0
    migrated = pl.format("Page has been migrated, last migrate reason: {}\n", "migrated")
    line = pl.when(pl.lit(owners)).then(pl.col("line").fill_null("") + "\n").otherwise(pl.lit(""))
    return frame.select(
        "pfn",
        header_lines(frame).str.strip_suffix("\n").alias("header"),
        line.alias("owner"),
        pl.lit("").alias("mapped"),
        pfn_lines(frame).str.strip_suffix("\n").alias("pfnline"),
        _lines(pl.col("frames")).alias("frames"),
        pl.concat_str(
            pl.coalesce(migrated, pl.lit("")),
            pl.when(charged).then(pl.col("charged") + "\n").otherwise(pl.lit("")),
        ).alias("tail"),
    )


def _lines(frames: pl.Expr) -> pl.Expr:
    """Each line with its leading space and newline again."""
    text = pl.lit(" ") + frames.str.replace_all("\n", "\n ", literal=True) + "\n"
    return pl.when(frames.str.len_bytes() > 0).then(text).otherwise(pl.lit(""))


def _columns(snapshot: Snapshot, heads: pl.DataFrame) -> pl.DataFrame:
    """What :mod:`pageowner.ownertext.columns` makes lines of."""
    about = snapshot.about
    allocations = snapshot.allocations.drop("stack")
    states = snapshot.states.select("state", "migrate_type", "flags_text", "charged", unit="order")
    frame = heads.join(allocations, on="allocation", how="left", maintain_order="left").join(
        states, on="state", how="left", maintain_order="left"
    )
    printed = {name for part in about.get("header", "").split() for name in _PARTS.get(part, ())}
    unprinted = {name for names in _PARTS.values() for name in names} - printed
    block = 1 << int(about.get("block_order", "9"))
    recorded = pl.col("allocation").is_not_null()
    return frame.with_columns(
        *(pl.lit(None, HEADER_SCHEMA[name]).alias(name) for name in unprinted),
        kind=pl.when(recorded).then(0).otherwise(1),
        order=pl.coalesce("order", "unit"),
        since=pl.lit(None, pl.String),
        free_pid=pl.lit(None, pl.Int32),
        free_tgid=pl.lit(None, pl.Int32),
        hex_pfn=pl.lit(about.get("pfn_base") != "10"),
        type_name=pl.col("mobility"),
        block=pl.col("pfn") // block,
        block_type_name=pl.col("migrate_type"),
    )


def _visible(frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.with_columns(visible_lines(frame.get_column("charged")))
    unique = frame.get_column("comm").drop_nulls().unique()
    shown = [escape_carried(comm) for comm in unique]
    if not len(unique):
        return frame
    return frame.with_columns(pl.col("comm").replace_strict(unique, shown, return_dtype=pl.String))
