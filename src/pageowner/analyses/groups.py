# SPDX-License-Identifier: LGPL-2.1-or-later
"""Groupings of ``summary --by``: those that a scan counted, and those that follow from the usage table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import polars as pl


class Tables(Protocol):
    """The tables of a snapshot that groupings are made of."""

    @property
    def usage(self) -> pl.DataFrame: ...
    @property
    def owners(self) -> pl.DataFrame: ...
    @property
    def stacks(self) -> pl.DataFrame: ...
    @property
    def groupings(self) -> dict[str, pl.DataFrame]: ...


def grouping(tables: Tables, by: str) -> pl.DataFrame:
    """Pages by *by*; Int64 columns are pages, the rest text.

    :raises KeyError: when it was neither counted nor follows from the usage table.
    """
    derive = DERIVED.get(by)
    return derive(tables) if derive else tables.groupings[by]


@dataclass(frozen=True)
class Grouped:
    """A grouping to be shown: its first ``rows``, how many ``more`` there are, and of each Int64 column what
    those sum to (``hidden``); ``rest``: the name of what belongs to no row, and its pages. The ``measure``
    column of all three sums to ``total``, the pages of the balance sheet."""

    rows: pl.DataFrame
    more: int
    hidden: dict[str, int]
    rest: str
    rest_pages: int
    measure: str
    total: int


def grouped(tables: Tables, by: str, rows: int) -> Grouped:
    """The first *rows* of :func:`grouping`, and all that is not in them.

    :raises KeyError: as that.
    """
    table = grouping(tables, by)
    measure, rest = _MEASURES.get(by, "pages"), _RESTS.get(by, "(not recorded)")
    numbers = [name for name in table.columns if table.schema[name] == pl.Int64]
    hidden = {name: int(table.get_column(name).slice(rows).sum()) for name in numbers}
    total = int(tables.usage.get_column("pages").sum())
    left = total - int(table.get_column(measure).sum())
    return Grouped(table.head(rows), max(table.height - rows, 0), hidden, rest, left, measure, total)


_MEASURES = {"process": "pss"}
_RESTS = {
    "process": "(hugetlb, or mapped by no process)",
    "cgroup": "(not charged, or object by object)",
    "mount": "(of no file system)",
}

def by_module(tables: Tables) -> pl.DataFrame:
    """``module`` (the stack's innermost, else "kernel"), ``pages``, ``kinds`` (most first)."""
    module = pl.col("functions").str.extract(r"\[([^\]]+)\]").fill_null("kernel").alias("module")
    kinds = tables.owners.select("id", pl.col("word").alias("kind"))
    recorded = tables.usage.join(tables.stacks.select("stack", module), on="stack").join(kinds, on="id")
    return with_kinds(recorded.select("module", "kind", "pages"), "module", "kinds")


def by_age(tables: Tables) -> pl.DataFrame:
    """Stacks by how much has survived for how long: ``stack``, ``pages``, ``oldest``, ``youngest``.

    Ages are counted back from the youngest record of all, in seconds. Ranked by pages times mean age, which
    a leak that began long ago and still goes on leads.
    """
    timed = tables.usage.filter((pl.col("stack") != 0) & (pl.col("youngest_ns") > 0))
    now = timed.get_column("youngest_ns").max() or 0
    summed = timed.group_by("stack").agg(
        pl.col("pages").sum(), pl.col("oldest_ns").min(), pl.col("youngest_ns").max()
    )
    age = {name: ((pl.lit(now) - pl.col(f"{name}_ns")) / 1e9) for name in ("oldest", "youngest")}
    ranked = summed.with_columns(rank=pl.col("pages") * (age["oldest"] + age["youngest"]))
    named = ranked.join(tables.stacks.select("stack", "functions"), on="stack")
    functions = pl.col("functions").str.replace_all("\n", " < ").alias("stack")
    seconds = [pl.format("{} s", age[name].round(1)).alias(name) for name in age]
    return named.sort("rank", "pages", "stack", descending=[True, True, False]).select(
        functions, "pages", *seconds
    )


def by_stack(tables: Tables) -> pl.DataFrame:
    """``stack``, ``pages``, ``kinds`` (most first) of all that has a recorded stack."""
    kinds = tables.owners.select("id", pl.col("word").alias("kind"))
    stacks = tables.stacks.select("stack", pl.col("functions").str.replace_all("\n", " < ").alias("text"))
    named = tables.usage.filter(pl.col("stack") != 0).join(kinds, on="id").join(stacks, on="stack")
    return with_kinds(named.select(pl.col("text").alias("stack"), "kind", "pages"), "stack", "kinds")


def with_kinds(frame: pl.DataFrame, by: str, name: str) -> pl.DataFrame:
    """*frame* (*by*, ``kind``, ``pages``) summed by *by*; the kinds in it as one text, most pages first."""
    summed = frame.group_by(by, "kind").agg(pl.col("pages").sum())
    summed = summed.sort("pages", "kind", descending=[True, False])
    return (
        summed.group_by(by, maintain_order=True)
        .agg(pl.col("pages").sum(), pl.format("{} {}", "kind", "pages").str.join(", ").alias(name))
        .sort("pages", by, descending=[True, False])
    )


DERIVED: dict[str, Callable[[Tables], pl.DataFrame]] = {
    "module": by_module,
    "age": by_age,
    "stack": by_stack,
}
"""What follows from the usage table of any snapshot."""
