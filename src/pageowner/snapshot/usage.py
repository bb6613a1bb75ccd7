# SPDX-License-Identifier: LGPL-2.1-or-later
"""The usage table: pages by owner, stack, node, zone and order. All of memory in a few thousand rows."""

from __future__ import annotations

import numpy as np
import polars as pl

from pageowner.kernel.page_flags import read_page_flags
from pageowner.snapshot.claims import UNCLAIMED
from pageowner.snapshot.keys import NOTHING, owner_key
from pageowner.snapshot.reclaimable import Reclaimable
from pageowner.snapshot.scan import Scan, SectionScan
from pageowner.snapshot.stack_names import StackNames

_BY = ("layer", "row", "handle", "node", "zone", "order")
_PARTS_AT_ONCE = 64

STACK_SCHEMA = {"stack": pl.Int64, "frames": pl.String, "functions": pl.String}
OWNER_SCHEMA = {"id": pl.Int64, "word": pl.String, "owner": pl.String, "pages": pl.Int64}
USAGE_SCHEMA = {
    "id": pl.Int64,
    "stack": pl.Int64,
    "node": pl.Int16,
    "zone": pl.Int8,
    "order": pl.Int8,
    "pages": pl.Int64,
    "youngest_ns": pl.UInt64,
    "oldest_ns": pl.UInt64,
    "reclaimable": pl.Int64,
}


class Usage:
    """Adds up sections; then gives the tables ``usage``, ``owners`` and ``stacks``."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._flags = read_page_flags(scan.kernel)
        self._reclaimable = Reclaimable(scan)
        self._parts: list[pl.DataFrame] = []
        self._loose = 0

    def add(self, section: SectionScan) -> None:
        """Count the pages of one section."""
        pages, records = section.pages, section.records
        at = np.flatnonzero(section.layer != UNCLAIMED)
        flags = pages.flags[at]
        handle, stamp = np.zeros(len(at), np.uint32), np.zeros(len(at), np.uint64)
        if records is not None:
            allocated = records.allocated[at]
            handle = np.where(allocated, records.rows["handle"][at], 0).astype(np.uint32)
            times = records.column("ts_nsec")
            stamp = stamp if times is None else np.where(allocated, times[at], 0)
        sizes = np.append(pages.heads.n, 1)[pages.head[at]]
        frame = pl.DataFrame(
            {
                "layer": section.layer[at],
                "row": section.owner_rows()[at],
                "handle": handle,
                "node": self._flags.node(flags).astype(np.int16),
                "zone": self._flags.zone(flags).astype(np.int8),
                "order": np.log2(sizes).astype(np.int8),
                "ts": stamp,
                "reclaimable": self._reclaimable.of(section)[at].astype(np.int64),
            }
        )
        self._parts.append(
            _sums(frame.with_columns(pl.lit(1, pl.Int64).alias("pages"), pl.col("ts").alias("ts_max")))
        )
        self._loose += self._parts[-1].height
        # Not before there are as many new rows as summed ones: each row is summed a few times, however many.
        if len(self._parts) > _PARTS_AT_ONCE and self._loose > self._parts[0].height:
            self._parts, self._loose = [_sums(pl.concat(self._parts))], 0

    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """(usage, owners, stacks), see :data:`USAGE_SCHEMA`, :data:`OWNER_SCHEMA`, :data:`STACK_SCHEMA`."""
        sums = (
            _sums(pl.concat(self._parts))
            if self._parts
            else pl.DataFrame(schema=dict.fromkeys([*_BY, "pages", "ts", "ts_max", "reclaimable"], pl.Int64))
        )
        names = self.names()
        sums = sums.cast({"layer": pl.UInt8, "row": pl.Int32, "handle": pl.UInt32})
        stacks = self._stacks(sums)
        named = sums.join(names, on=["layer", "row"], how="left")
        usage = usage_table(named.join(stacks.select("handle", "stack"), on="handle", how="left"))
        pages = usage.group_by("id").agg(pl.col("pages").sum())
        owners = names.unique("id", keep="first").join(pages, on="id").select(OWNER_SCHEMA.keys())
        kept = stacks.unique("stack", keep="first").select(STACK_SCHEMA.keys()).sort("stack")
        return usage, owners.sort("pages", "word", "owner", descending=[True, False, False]), kept

    def names(self) -> pl.DataFrame:
        """``layer`` and ``row`` of each owner, its key ``id``, ``word`` and ``owner``."""
        schema = {"layer": pl.UInt8, "row": pl.Int32, "id": pl.Int64, "word": pl.String, "owner": pl.String}
        rows = [
            (run.number, row, owner_key(run.word, name), run.word, name)
            for run in self._scan.all_runs
            if run.owners.frame.height
            for row, name in enumerate(run.owners.frame.get_column("owner").to_list())
        ]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _stacks(self, sums: pl.DataFrame) -> pl.DataFrame:
        handles = sums.get_column("handle").unique()
        return self._scan.kernel.memo(StackNames).table(handles)


def usage_table(named: pl.DataFrame) -> pl.DataFrame:
    """The usage table (:data:`USAGE_SCHEMA`) of rows with ``id``, ``stack`` (null: none), ``node``, ``zone``,
    ``order``, ``pages``, ``ts`` and ``ts_max``, their oldest and youngest time; ``reclaimable``, if known."""
    unknown = pl.lit(None, pl.Int64).alias("reclaimable")
    return (
        named.with_columns(pl.col("stack").fill_null(NOTHING))
        .group_by("id", "stack", "node", "zone", "order")
        .agg(
            pl.col("pages").sum(),
            pl.col("ts_max").max().alias("youngest_ns"),
            pl.col("ts").min().alias("oldest_ns"),
            pl.col("reclaimable").sum() if "reclaimable" in named.columns else unknown,
        )
        .select(pl.col(name).cast(kind) for name, kind in USAGE_SCHEMA.items())
        .sort("pages", "id", "stack", "node", "zone", "order", descending=[True] + [False] * 5)
    )


def _sums(frame: pl.DataFrame) -> pl.DataFrame:
    pages = pl.col("pages", "reclaimable").sum()
    return frame.group_by(_BY).agg(pages, pl.col("ts").min(), pl.col("ts_max").max())
