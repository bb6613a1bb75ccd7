# SPDX-License-Identifier: LGPL-2.1-or-later
"""A page_owner text as a snapshot: what it says of its pages, and what can be inferred from their stacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from pageowner.analyses.filters import Filter
from pageowner.errors import SourceError
from pageowner.kernel.zone import ZONE_SCHEMA
from pageowner.ownertext.cuts import FREED, Cuts
from pageowner.ownertext.health import Health
from pageowner.ownertext.intern import Tails
from pageowner.ownertext.read import records_of
from pageowner.ownertext.source import open_text
from pageowner.ownertext.stack_list import StackList, begins, is_stack_list
from pageowner.snapshot.fields import RECORD_TABLES
from pageowner.snapshot.keys import NOTHING, function, owner_key, stack_key
from pageowner.snapshot.model import LAYER_SCHEMA, Coverage, Snapshot
from pageowner.snapshot.text_chosen import TextChosen
from pageowner.snapshot.text_owner import owner_name
from pageowner.snapshot.text_records import TextRecords
from pageowner.snapshot.usage import OWNER_SCHEMA, STACK_SCHEMA, usage_table

_BY = ("word", "named", "tail", "node", "zone", "order")
_PARTS_AT_ONCE = 64
_NODE_SCHEMA = {"node": pl.Int32, "kind": pl.String, "pages": pl.Int64}
_COUNTER_SCHEMA = {
    "name": pl.String,
    "kernel": pl.Int64,
    "ours": pl.Int64,
    "formula": pl.String,
    "unexplained": pl.Int64,
}
UNKNOWN = (
    "from a page_owner text: free and reserved pages, pages without a record and the kernel's own counters "
    "are not in it, so all sums are those of its records"
)

LISTED = (
    "from a list of stacks: how many pages each still has, and no more; stacks with fewer than "
    "page_owner_stacks/count_threshold are not in it"
)


def text_snapshot(
    path: Path, by: Iterable[str] | None = (), wanted: Filter | None = None, records: bool = False
) -> Snapshot:
    """The tables of the text at *path* (``-``: standard input). Kinds that it does not say are inferred.

    :param by: ``node`` at most: a text does not say more; None for all that it says.
    :param wanted: count these records only.
    :param records: keep the tables of single records, too.
    :raises SourceError: when it cannot be read, has no records, or does not say what is asked for.
    """
    asked = ["node"] if by is None else list(by)
    for name in asked:
        if name != "node":
            raise SourceError(f"{path}: a page_owner text does not say which pages belong to which {name}")
    with open_text(path) as blocks:
        chosen = TextChosen(path, wanted) if wanted else None
        found, health = _Sums(chosen, TextRecords() if records else None), Health()
        head, whole = begins(blocks)
        listed = StackList() if is_stack_list(head) else None
        if listed is not None:
            asked = [] if by is None else asked
            if wanted or asked:
                raise SourceError(f"{path} is a list of stacks and says no more than how many pages each has")
            found.add_list(listed, whole)
        for cuts in health.cuts(whole):
            found.add(cuts)
        told = health if listed is None else listed
        damage = [*([blocks.problem] if blocks.problem else []), *told.problems]
    if not health.records and not (listed and listed.stacks):
        raise SourceError(f"{path} has no page_owner records; give what /sys/kernel/debug/page_owner prints")
    snapshot = found.snapshot(damage, asked)
    return replace(snapshot, about=snapshot.about | {"only": str(wanted)}) if wanted else snapshot


class _Sums:
    """Adds up pieces of text."""

    def __init__(self, chosen: TextChosen | None = None, records: TextRecords | None = None) -> None:
        self._chosen, self._records = chosen, records
        self.freed = self.inferred = 0
        self.unknown = UNKNOWN
        self._tails = Tails()
        self._parts: list[pl.DataFrame] = []

    def add(self, cuts: Cuts) -> None:
        records = records_of(cuts, self._tails)
        kept = records.filter(pl.col("kind") != FREED)
        self.freed += records.height - kept.height
        if self._chosen is not None:
            kept = self._chosen(kept, self._tails.table())
        if self._records is not None:
            self._records.add(kept, self._tails.table())
        self.inferred += int(kept.filter(pl.col("inferred")).get_column("n").sum())
        self._parts.append(_summed(kept.select(*_columns())))
        if len(self._parts) >= _PARTS_AT_ONCE:
            self._parts = [_summed(pl.concat(self._parts))]

    def add_list(self, listed: StackList, blocks: Iterable[bytes]) -> None:
        self.unknown = LISTED
        rows = listed.read(blocks, self._tails)
        words = self._tails.table().select("stack", "word")
        told = rows.join(words, on="stack", how="left", maintain_order="left")
        self.inferred += int(told.get_column("n").sum())
        nothing = {name: pl.lit(0, pl.Int64) for name in ("node", "zone", "ts", "ts_max")}
        whole = told.select("word", pl.col("stack").alias("tail"), pl.col("n").alias("pages")).with_columns(
            named=pl.lit(None, pl.String), order=pl.lit(0, pl.Int8), **nothing
        )
        self._parts.append(_summed(whole))

    def snapshot(self, damage: list[str], by: list[str]) -> Snapshot:
        sums = _summed(pl.concat(self._parts))
        named, owners = _owners(sums, self._tails.table())
        tails = self._tails.table()
        keyed = _stacks(tails)
        usage, stacks = _usage(named, keyed)
        pages = int(owners.get_column("pages").sum())
        each, kept = {}, self._records
        if kept is not None and self.unknown == UNKNOWN:  # a list of stacks has none
            each = dict(zip(RECORD_TABLES, kept.tables(owners, keyed, tails), strict=True))
        return Snapshot(
            **each,
            about=kept.about if kept is not None and each else {},
            usage=usage,
            owners=owners,
            stacks=stacks,
            zones=_zones(usage),
            layers=pl.DataFrame(schema=LAYER_SCHEMA),
            counters=pl.DataFrame(schema=_COUNTER_SCHEMA),
            coverage=Coverage(scanned=pages),
            groupings={"node": _by_node(usage, owners)} if "node" in by else {},
            partial=bool(damage),
            remarks=[self.unknown, *self._remarks(pages), *damage],
        )

    def _remarks(self, pages: int) -> Iterator[str]:
        if self._records is not None and self._records.left_out:
            yield f"{self._records.left_out} damaged records are counted, but not kept"
        if self.inferred:
            yield f"the kinds of {self.inferred} of {pages} pages are inferred from their stacks"
        if self.freed:
            yield f"{self.freed} records tell of last frees: their pages are not counted"


def _columns() -> Iterator[pl.Expr]:
    yield pl.col("word")
    yield owner_name().alias("named")
    yield pl.col("stack").alias("tail")
    yield pl.col("node").fill_null(0)
    yield pl.col("zone").fill_null(0)
    yield pl.when(pl.col("n") > 1).then(pl.col("order")).otherwise(0).cast(pl.Int8).alias("order")
    yield pl.col("n").alias("pages")
    yield pl.col("ts_nsec").fill_null(0).alias("ts")
    yield pl.col("ts_nsec").fill_null(0).alias("ts_max")


def _summed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by(_BY, maintain_order=True).agg(
        pl.col("pages").sum(), pl.col("ts").min(), pl.col("ts_max").max()
    )


def _owners(sums: pl.DataFrame, tails: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """*sums* with ``id``, and the owners table."""
    callers = tails.select(pl.col("stack").alias("tail"), "caller")
    named = sums.join(callers, on="tail", how="left", maintain_order="left").with_columns(
        owner=pl.coalesce("named", "caller", pl.lit(""))
    )
    unique = named.select("word", "owner").unique(maintain_order=True)
    keys = [owner_key(word, owner) for word, owner in unique.iter_rows()]
    ids = unique.with_columns(pl.Series("id", keys, dtype=pl.Int64))
    named = named.join(ids, on=["word", "owner"], how="left", maintain_order="left")
    owners = named.group_by("id", "word", "owner").agg(pl.col("pages").sum()).select(OWNER_SCHEMA.keys())
    return named, owners.sort("pages", "word", "owner", descending=[True, False, False])


def _stacks(tails: pl.DataFrame) -> pl.DataFrame:
    """``tail`` and the columns of the stacks table."""
    rows = []
    for tail, frames in tails.select("stack", "frames").iter_rows():
        lines = [line[1:] for line in frames.split("\n") if line]
        names = [function(line) for line in lines]
        rows.append((tail, stack_key(names), "\n".join(lines), "\n".join(names)))
    return pl.DataFrame(rows, schema={"tail": pl.UInt32, **STACK_SCHEMA}, orient="row")


def _usage(named: pl.DataFrame, stacks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    usage = usage_table(named.join(stacks.select("tail", "stack"), on="tail", how="left"))
    kept = stacks.filter(pl.col("stack") != NOTHING).unique("stack", keep="first", maintain_order=True)
    return usage, kept.select(STACK_SCHEMA.keys()).sort("stack")


def _zones(usage: pl.DataFrame) -> pl.DataFrame:
    """A row per node and zone that records speak of; where they lie and how large they are is not known."""
    unknown = [name for name in ZONE_SCHEMA if name not in ("node", "zone", "zone_index")]
    return (
        usage.select("node", pl.format("zone {}", "zone").alias("zone"), pl.col("zone").alias("zone_index"))
        .unique()
        .sort("node", "zone_index")
        .with_columns(pl.lit(None).alias(name) for name in unknown)
        .select(ZONE_SCHEMA.keys())
        .cast(ZONE_SCHEMA)  # type: ignore[arg-type]
    )


def _by_node(usage: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    joined = usage.join(owners.select("id", "word"), on="id", how="left")
    grouped = joined.group_by("node", pl.col("word").alias("kind")).agg(pl.col("pages").sum())
    return grouped.sort("node", "pages", "kind", descending=[False, True, False]).cast(_NODE_SCHEMA)  # type: ignore[arg-type]
