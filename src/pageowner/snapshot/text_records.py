# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records of a page_owner text as a scan keeps them: ``records``, ``allocations``, ``states``."""

from __future__ import annotations

from collections import Counter

import polars as pl

from pageowner.ownertext.rewrite import with_owners
from pageowner.snapshot.intern import Interned
from pageowner.snapshot.records import RECORD_SCHEMA
from pageowner.snapshot.text_owner import named_owner

_ALLOCATION = {
    "order": pl.Int8,
    "gfp_mask": pl.UInt32,
    "gfp": pl.String,
    "type_name": pl.String,
    "pid": pl.Int32,
    "tgid": pl.Int32,
    "comm": pl.String,
    "stack": pl.UInt32,
}
_STATE = {
    "node": pl.Int16,
    "zone": pl.Int8,
    "unit": pl.Int8,
    "block_type_name": pl.String,
    "flags_text": pl.String,
    "cgroup": pl.String,
    "cgroup_state": pl.String,
    "charged": pl.String,
}
_OWNED = {"word": pl.String, "owner": pl.String}
_PRINTED = {"pid": "pid", "tgid": "tgid", "ts": "ts_nsec", "free_ts": "free_ts_nsec"}


class TextRecords:
    """Takes records of a text, piece by piece; then gives the tables. Damaged ones cannot be kept."""

    def __init__(self) -> None:
        self.left_out = 0
        self._allocations, self._states = Interned("allocation", _ALLOCATION), Interned("state", _STATE)
        self._owned = Interned("number", _OWNED)
        self._parts = [pl.DataFrame(schema=RECORD_SCHEMA)]
        self._orders: Counter[int] = Counter()
        self._bases: Counter[str] = Counter()
        self._printed: set[str] = set()

    def add(self, records: pl.DataFrame, tails: pl.DataFrame) -> None:
        """Keep *records* (:data:`pageowner.ownertext.read.RECORDS_SCHEMA`) with their *tails*."""
        sound = pl.col("raw_header").is_null() & pl.col("raw_pfnline").is_null() & pl.col("pfn").is_not_null()
        kept = records.filter(sound)
        self.left_out += records.height - kept.height
        self._look(kept)
        line = with_owners(kept, tails).get_column("owner")
        rows = kept.with_columns(
            owner=named_owner(kept, tails), line=line, unit=_unit(), head=pl.lit(True)
        ).join(_charges(tails), on="stack", how="left", maintain_order="left")
        recorded = pl.col("kind") == 0
        numbered = rows.with_columns(
            self._allocations.numbers(rows), self._states.numbers(rows), self._owned.numbers(rows).alias("id")
        ).with_columns(pl.when(recorded).then("allocation"))
        self._parts.append(numbered.select(pl.col(name).cast(kind) for name, kind in RECORD_SCHEMA.items()))

    def _look(self, kept: pl.DataFrame) -> None:
        """What form the text has: for the report that is made of it again."""
        self._printed |= {part for part, name in _PRINTED.items() if kept[name].null_count() < kept.height}
        self._bases.update("16" if hexadecimal else "10" for hexadecimal in kept["hex_pfn"].unique())
        first = kept.filter(pl.col("block") > 0).tail(1)
        for pfn, block in first.select("pfn", "block").iter_rows():
            self._orders[(pfn // block).bit_length() - 1] += 1

    @property
    def about(self) -> dict[str, str]:
        """As :attr:`pageowner.snapshot.records.RecordTables.about`."""
        order, base = self._orders.most_common(1) or [(9, 1)], self._bases.most_common(1) or [("16", 1)]
        parts = " ".join(part for part in _PRINTED if part in self._printed)
        return {"header": parts, "pfn_base": base[0][0], "block_order": str(order[0][0])}

    def tables(
        self, owners: pl.DataFrame, stacks: pl.DataFrame, tails: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """(records, allocations, states).

        :param stacks: ``tail`` and ``stack``, its key, and ``frames``.
        """
        known = owners.select("word", "owner", key="id")
        ids = self._owned.table.join(known, on=["word", "owner"], how="left")
        keys = ids.select(pl.col("number").cast(pl.Int64).alias("id"), "key")
        records = pl.concat(self._parts).join(keys, on="id", how="left", maintain_order="left")
        reasons = tails.select(pl.col("stack").alias("tail"), migrated="migrate_reason")
        named = self._allocations.table.rename({"stack": "tail"}).join(stacks, on="tail", how="left")
        whole = named.join(reasons, on="tail", how="left").sort("allocation")
        allocations = whole.filter(pl.col("gfp_mask").is_not_null()).select(
            "allocation", "order", "gfp_mask", "gfp", pl.col("type_name").alias("mobility"), "pid", "tgid",
            "comm", "stack", "frames", "migrated",
        )  # fmt: skip
        states = self._states.table.select(
            "state", "node", "zone", pl.col("unit").alias("order"),
            pl.col("block_type_name").alias("migrate_type"),
            "cgroup", "cgroup_state", pl.lit(None, pl.String).alias("cma"), "flags_text", "charged",
        )  # fmt: skip
        return records.with_columns(id="key").select(RECORD_SCHEMA.keys()), allocations, states


def _unit() -> pl.Expr:
    return pl.when(pl.col("n") > 1).then(pl.col("order")).otherwise(0)


def _charges(tails: pl.DataFrame) -> pl.DataFrame:
    """``stack`` (of the tail), ``cgroup`` (its name: a text has no path), ``cgroup_state``, ``charged``."""
    via = pl.when("objcg").then(pl.lit("(via objcg) ")).otherwise(pl.lit(""))
    state = pl.when("offline").then(pl.lit("offline ")).otherwise(pl.lit(""))
    line = pl.format("Charged {}to {}memcg {}", via, state, "memcg")
    charged = pl.when("slab").then(pl.lit("Slab cache page")).otherwise(line)
    online = pl.when("offline").then(pl.lit("dying")).otherwise(pl.lit("online"))
    return tails.select(
        "stack",
        cgroup="memcg",
        cgroup_state=pl.when(pl.col("memcg").is_not_null()).then(online),
        charged=charged,
    )
