# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables that say all of each page: ``records``, and ``allocations`` and ``states`` that its rows share.

A row is a run of pages that are alike; that of a block of page_owner, or a part of one. What many rows have
in common (who allocated, from where; node, zone, cgroup, flags) is kept once and numbered, so that a row on
disk is some 20 bytes, and a filter compares texts a few thousand times.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pageowner.ownertext.tables import Texts, TextTables
from pageowner.ownertext.unrecorded import tables_without_records
from pageowner.ownertext.write import flags_text
from pageowner.snapshot.claims import UNCLAIMED
from pageowner.snapshot.intern import Interned
from pageowner.snapshot.lines import OwnerLines
from pageowner.snapshot.reported import Reported
from pageowner.snapshot.rows import Rows, migrate_types, read_cgroups
from pageowner.snapshot.scan import Scan, SectionScan
from pageowner.snapshot.stack_names import StackNames

_ALLOCATION = {
    "handle": pl.UInt32,
    "order": pl.Int8,
    "gfp_mask": pl.UInt32,
    "pid": pl.Int32,
    "tgid": pl.Int32,
    "comm": pl.String,
    "last_migrate_reason": pl.Int16,
}
_STATE = {
    "node": pl.Int16,
    "place": pl.Int64,
    "unit": pl.Int8,
    "block_type": pl.UInt8,
    "memcg": pl.UInt64,
    "cma": pl.String,
    "flags": pl.UInt64,
    "memcg_data": pl.UInt64,
}
_STATE_NAMES = ("cgroup", "cgroup_state", "cma", "flags_text", "charged")
_OF_BLOCK = {
    "flags": pl.UInt64,
    "memcg_data": pl.UInt64,
    "last_migrate_reason": pl.Int16,
    "free_ts_nsec": pl.UInt64,
    "line": pl.String,
    "head": pl.Boolean,
}
RECORD_SCHEMA = {
    "pfn": pl.Int64,
    "n": pl.Int64,
    "id": pl.Int64,
    "allocation": pl.Int32,
    "state": pl.Int32,
    "ts_nsec": pl.UInt64,
    "free_ts_nsec": pl.UInt64,
    "head": pl.Boolean,
    "line": pl.String,
}


class RecordTables:
    """Takes sections; then gives the three tables, and what a report of them must know of the kernel."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._rows, self._reported, self._lines = Rows(scan), Reported(scan), OwnerLines(scan)
        self._allocations = Interned("allocation", _ALLOCATION)
        self._states = Interned("state", _STATE)
        self._parts: list[pl.DataFrame] = []

    def add(self, section: SectionScan) -> None:
        """Keep the pages of one section that somebody owns."""
        blocks = self._blocks(section)
        starts = np.zeros(section.pages.section.n, np.bool_)
        starts[blocks.get_column("pfn").to_numpy() - section.pages.section.start] = True
        rows = self._rows.of(section, starts).join(blocks, on="pfn", how="left", maintain_order="left")
        recorded = rows.get_column("handle").is_not_null() if "handle" in rows.columns else None
        numbers = pl.repeat(None, rows.height, dtype=pl.Int32, eager=True)
        if recorded is not None:
            found = pl.DataFrame({"number": self._allocations.numbers(rows), "recorded": recorded})
            numbers = found.select(pl.when("recorded").then("number")).to_series()
        part = rows.with_columns(
            numbers.alias("allocation"),
            self._states.numbers(rows),
            _or_null(rows, "youngest_ns", pl.UInt64).alias("ts_nsec"),
            pl.col("head").fill_null(False),
        )
        self._parts.append(part.select(pl.col(name).cast(kind) for name, kind in RECORD_SCHEMA.items()))

    def _blocks(self, section: SectionScan) -> pl.DataFrame:
        """``pfn`` of each block that a report has, and what it says of that block alone."""
        whole = section.whole or section
        blocks = self._reported.of(section)
        at = blocks.get_column("pfn").to_numpy() - section.pages.section.start
        blocks = blocks.filter(pl.Series(section.layer[at] != UNCLAIMED, dtype=pl.Boolean))
        lines = self._lines.of_blocks(whole, blocks) if blocks.height else pl.Series([], dtype=pl.String)
        told = blocks.with_columns(lines.alias("line"), pl.lit(True).alias("head"))
        columns = [_or_null(told, name, kind).alias(name) for name, kind in _OF_BLOCK.items()]
        return told.select("pfn", *columns)

    def tables(self, ids: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """(records, allocations, states), see :mod:`pageowner.snapshot.fields`.

        :param ids: ``layer`` and ``row`` of each owner, and its key ``id``.
        """
        records = pl.concat([pl.DataFrame(schema=RECORD_SCHEMA), *self._parts])
        number = pl.col("layer").cast(pl.Int64) * (1 << 32) + pl.col("row") + 1  # as owner_ids()
        keys = ids.select(number.alias("id"), pl.col("id").alias("key"))
        named = records.join(keys, on="id", how="left", maintain_order="left")
        records = named.with_columns(id="key").select(RECORD_SCHEMA.keys())
        names = self._names()
        return records, self._allocation_table(names), self._state_table(names)

    @property
    def about(self) -> dict[str, str]:
        """The form of the kernel's text: parts of its header, base of its PFNs, order of a pageblock."""
        shape = self._names().shape
        parts = [name for name in ("pid", "tgid", "ts", "free_ts") if name in shape.header]
        base = "16" if shape.hex_pfn else "10"
        return {"header": " ".join(parts), "pfn_base": base, "block_order": str(self._reported.blocks.order)}

    def _names(self) -> TextTables:
        kernel, order = self._scan.kernel, self._reported.blocks.order
        if not self._reported.recorded:
            return tables_without_records(kernel, order)
        handles = self._allocations.table.select("handle").unique()
        charged = self._states.table.select("memcg_data").drop_nulls().unique()
        return Texts(kernel, order).tables(pl.concat([handles, charged], how="diagonal"))

    def _allocation_table(self, names: TextTables) -> pl.DataFrame:
        table = self._allocations.table.filter(pl.col("handle").is_not_null())
        masks = table.get_column("gfp_mask")
        mobility = [names.types.name(i) for i in names.types.of_gfp(masks.to_numpy()).tolist()]
        unique = masks.unique()
        gfp = masks.replace_strict(unique, [names.gfp.names.text(mask) for mask in unique.to_list()])
        never, reason = names.types.never, names.types.reason
        migrated = [None if r in (None, never) else reason(r) for r in table["last_migrate_reason"].to_list()]
        keys = self._scan.kernel.memo(StackNames).table(table["handle"].unique()).select("handle", "stack")
        frames = pl.col("frames").str.replace_all(r"(?m)^ ", "").str.strip_suffix("\n")
        lines = names.stacks.with_columns(frames=frames)
        named = table.with_columns(
            gfp.cast(pl.String).alias("gfp"),
            pl.Series("mobility", mobility, pl.String),
            pl.Series("migrated", migrated, pl.String),
        ).join(keys, on="handle", how="left", maintain_order="left")
        whole = named.join(lines, on="handle", how="left", maintain_order="left")
        return whole.with_columns(pl.col("stack").fill_null(0), pl.col("frames").fill_null("")).select(
            "allocation", "order", "gfp_mask", "gfp", "mobility", "pid", "tgid", "comm", "stack", "frames",
            "migrated",
        )  # fmt: skip

    def _state_table(self, names: TextTables) -> pl.DataFrame:
        table, kernel = self._states.table, self._scan.kernel
        flags = table.get_column("flags")
        texts = flags_text(flags.fill_null(0), names)
        types = migrate_types(kernel).cast({"block_type": pl.UInt8})
        charged = names.memcgs.select("memcg_data", pl.col("memcg").alias("charged"))
        named = (
            table.with_columns(pl.when(flags.is_not_null()).then(texts).alias("flags_text"))
            .join(types, on="block_type", how="left", maintain_order="left")
            .join(charged, on="memcg_data", how="left", maintain_order="left")
        )
        groups = pl.DataFrame(schema={"memcg": pl.UInt64, "cgroup": pl.String, "state": pl.String})
        words = named.get_column("memcg").drop_nulls().unique()
        if (words != 0).any():
            groups = read_cgroups(kernel, words)
        groups = groups.rename({"state": "cgroup_state"})
        whole = named.join(groups, on="memcg", how="left", maintain_order="left")
        kind = pl.coalesce("migrate_type", pl.col("block_type").cast(pl.String)).alias("migrate_type")
        zone = (pl.col("place") % 256).cast(pl.Int8).alias("zone")
        return whole.select("state", "node", zone, pl.col("unit").alias("order"), kind, *_STATE_NAMES)


def _or_null(frame: pl.DataFrame, name: str, kind: type[pl.DataType]) -> pl.Expr:
    return pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, kind)
