# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables of single records without names: comm, cgroups, and what owner lines end in."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from pageowner.escape import escape
from pageowner.rawtext import to_bytes
from pageowner.snapshot.pseudonyms import Pseudonyms

_LINE = (
    r"(?s)^(?<before>[A-Z0-9_]+_PAGE .*?\b(?:name|path):)(?<name>.*?)"
    r"(?<after> \+[0-9]+ pages of [0-9]+ other owners)?$"
)
_OF_TASKS = frozenset("IO_URING_PAGE KERNEL_STACK_PAGE PERF_PAGE PIPE_PAGE SOCKET_PAGE".split())
_CHARGED = r"^(?<before>.* memcg )(?<name>(?s:.*))$"


def redact_allocations(table: pl.DataFrame, names: Pseudonyms) -> pl.DataFrame:
    """*table* with a pseudonym for each comm, the same as in owners."""
    return table.with_columns(
        mapped(table.get_column("comm"), lambda comm: names.of("process", escape(to_bytes(comm), "()")))
    )


def redact_states(table: pl.DataFrame, names: Pseudonyms) -> pl.DataFrame:
    """*table* with pseudonyms for cgroups; kernel lines that tell of charges end in them, too."""
    parts = table.select(pl.col("charged").str.extract_groups(_CHARGED)).unnest("charged")
    memcg = mapped(parts.get_column("name"), lambda name: names.of("cgroup", name))
    charged = pl.select(pl.coalesce(parts.get_column("before") + memcg, table.get_column("charged")))
    return table.with_columns(
        mapped(table.get_column("cgroup"), names.cgroup), charged.to_series().alias("charged")
    )


def redact_lines(
    lines: pl.Series, names: Pseudonyms, harmless: frozenset[str], known: frozenset[str]
) -> pl.Series:
    """Owner *lines* without names; of words that are neither *harmless* nor *known* only the word is left."""
    frame = pl.DataFrame({"line": lines, "word": lines.str.extract(r"^([A-Z0-9_]+)")})
    groups = pl.col("line").str.extract_groups(_LINE).alias("parts")
    parts = frame.select("line", "word", groups).unnest("parts")
    pairs = parts.select("word", "name").unique(maintain_order=True)
    told = [None if name is None else _name(names, str(word), name) for word, name in pairs.iter_rows()]
    table = pairs.with_columns(pl.Series("told", told, pl.String))
    joined = parts.join(table, on=["word", "name"], how="left", maintain_order="left", nulls_equal=True)
    renamed = pl.concat_str("before", "told", pl.col("after").fill_null(""))
    return joined.select(
        pl.when(pl.col("word").is_in(list(harmless)) | pl.col("line").is_null())
        .then("line")
        .when(pl.col("word").is_in(list(known)))
        .then(pl.coalesce(renamed, "line"))
        .otherwise(pl.coalesce("word", pl.lit("OTHER_PAGE")) + " (redacted)")
        .alias("line")
    ).to_series()


def _name(names: Pseudonyms, word: str, name: str) -> str:
    if word in _OF_TASKS:
        return names.of("process", name)
    return names.owner(word, name)


def mapped(column: pl.Series, change: Callable[[str], str]) -> pl.Series:
    """*column* with *change* made to each distinct text; nulls stay."""
    if column.dtype != pl.String:
        return column
    told = {text: change(text) for text in column.unique().to_list() if text is not None}
    return column.replace(told) if told else column
