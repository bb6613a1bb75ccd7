# SPDX-License-Identifier: LGPL-2.1-or-later
"""The usage table: pages by owner, stack, node, zone and order. All of memory in a few thousand rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.page_flags import read_page_flags
from pageowner.kernel.runs import run_starts
from pageowner.snapshot.claims import UNCLAIMED
from pageowner.snapshot.keys import NOTHING, owner_keys
from pageowner.snapshot.reclaimable import Reclaimable
from pageowner.snapshot.scan import Scan, SectionScan
from pageowner.snapshot.stack_names import StackNames

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

_BY = ("layer", "row", "handle", "node", "zone", "order")
_ROWS_AT_ONCE = 1 << 17
_PART_SCHEMA: dict[str, Any] = {
    "layer": pl.UInt8,
    "row": pl.Int32,
    "handle": pl.UInt32,
    "node": pl.Int16,
    "zone": pl.Int8,
    "order": pl.Int8,
    "pages": pl.Int64,
    "ts": pl.UInt64,
    "ts_max": pl.UInt64,
    "reclaimable": pl.Int64,
}
_NAME_SCHEMA = {"layer": pl.UInt8, "row": pl.Int32, "id": pl.Int64, "word": pl.String, "owner": pl.String}

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
        self._parts = [pl.DataFrame(schema=_PART_SCHEMA)]
        self._place_bits = self._flags.place_bits
        self._loose = 0

    def add(self, section: SectionScan) -> None:
        """Count the pages of one section."""
        # Neighbours are mostly alike: polars sums runs of them, many sections at once.
        part = self._runs(section)
        self._parts.append(part)
        self._loose += part.height
        # Not before there are as many new rows as summed ones: each row is summed a few times, however many.
        if self._loose > max(_ROWS_AT_ONCE, self._parts[0].height):
            self._parts, self._loose = [_sums(pl.concat(self._parts))], 0

    def _runs(self, section: SectionScan) -> pl.DataFrame:
        """Runs of neighbouring pages that differ in nothing but their time, with the sums of each."""
        at = np.flatnonzero(section.layer != UNCLAIMED)
        every: slice | I64 = slice(None) if len(at) == len(section.layer) else at
        layer, row, flags = section.layer[every], section.owner_rows()[every], section.pages.flags[every]
        handle, stamp = _records(section, every)
        size = np.append(section.pages.heads.n, 1)[section.pages.head[every]]
        place = flags & self._place_bits
        starts = run_starts(layer, row, handle, place, size)
        if not len(starts):
            return pl.DataFrame(schema=_PART_SCHEMA)
        return pl.DataFrame(
            {
                "layer": layer[starts],
                "row": row[starts],
                "handle": handle[starts],
                "node": self._flags.node(flags[starts]).astype(np.int16),
                "zone": self._flags.zone(flags[starts]).astype(np.int8),
                "order": np.log2(size[starts]).astype(np.int8),
                "pages": np.diff(starts, append=len(layer)),
                "ts": np.minimum.reduceat(stamp, starts),
                "ts_max": np.maximum.reduceat(stamp, starts),
                "reclaimable": np.add.reduceat(self._reclaimable.of(section)[every], starts, dtype=np.int64),
            },
            schema=_PART_SCHEMA,
        )

    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """(usage, owners, stacks), see :data:`USAGE_SCHEMA`, :data:`OWNER_SCHEMA`, :data:`STACK_SCHEMA`."""
        self._parts = [_sums(pl.concat(self._parts))]
        sums, names = self._parts[0], self.names()
        stacks = self._stacks(sums)
        keyed = sums.join(names.select("layer", "row", "id"), on=["layer", "row"], how="left")
        usage = usage_table(keyed.join(stacks.select("handle", "stack"), on="handle", how="left"))
        pages = usage.group_by("id").agg(pl.col("pages").sum())
        owners = names.unique("id", keep="first").join(pages, on="id").select(OWNER_SCHEMA.keys())
        kept = stacks.unique("stack", keep="first").select(STACK_SCHEMA.keys()).sort("stack")
        return usage, owners.sort("pages", "word", "owner", descending=[True, False, False]), kept

    def names(self) -> pl.DataFrame:
        """``layer`` and ``row`` of each owner, its key ``id``, ``word`` and ``owner``."""
        parts = [pl.DataFrame(schema=_NAME_SCHEMA)]
        for run in self._scan.all_runs:
            if not run.owners.frame.height:
                continue
            owner = run.owners.frame.get_column("owner")
            columns = {
                "layer": np.full(len(owner), run.number, np.uint8),
                "row": np.arange(len(owner), dtype=np.int32),
                "id": owner_keys(run.word, owner.to_list()),
                "word": [run.word] * len(owner),
                "owner": owner,
            }
            parts.append(pl.DataFrame(columns, schema=_NAME_SCHEMA))
        return pl.concat(parts)

    def _stacks(self, sums: pl.DataFrame) -> pl.DataFrame:
        handles = sums.get_column("handle").unique()
        return self._scan.kernel.memo(StackNames).table(handles)


def usage_table(keyed: pl.DataFrame) -> pl.DataFrame:
    """The usage table (:data:`USAGE_SCHEMA`) of rows with ``id``, ``stack`` (null: none), ``node``, ``zone``,
    ``order``, ``pages``, ``ts`` and ``ts_max``, their oldest and youngest time; ``reclaimable``, if known."""
    unknown = pl.lit(None, pl.Int64).alias("reclaimable")
    return (
        keyed.lazy()
        .with_columns(pl.col("stack").fill_null(NOTHING))
        .group_by("id", "stack", "node", "zone", "order")
        .agg(
            pl.col("pages").sum(),
            pl.col("ts_max").max().alias("youngest_ns"),
            pl.col("ts").min().alias("oldest_ns"),
            pl.col("reclaimable").sum() if "reclaimable" in keyed.columns else unknown,
        )
        .select(pl.col(name).cast(kind) for name, kind in USAGE_SCHEMA.items())
        .sort("pages", "id", "stack", "node", "zone", "order", descending=[True] + [False] * 5)
        .collect(engine="streaming")
    )


def _records(section: SectionScan, at: slice | I64) -> tuple[U32, U64]:
    """Handle and time of the records of pages *at*: zeros for pages that are not allocated."""
    n, records = len(section.layer[at]), section.records
    if records is None:
        return np.zeros(n, np.uint32), np.zeros(n, np.uint64)
    times = records.column("ts_nsec")
    stamp = np.zeros(n, np.uint64) if times is None else np.where(records.allocated[at], times[at], 0)
    return records.handle[at], stamp.astype(np.uint64)


def _sums(frame: pl.DataFrame) -> pl.DataFrame:
    sums = pl.col("pages", "reclaimable").sum(), pl.col("ts").min(), pl.col("ts_max").max()
    query = frame.lazy().group_by(_BY).agg(*sums).select(_PART_SCHEMA.keys())
    return query.collect(engine="streaming")  # a third of the memory that it takes in one piece
