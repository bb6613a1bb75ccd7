# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who owns the records of a page_owner text: by their owner lines, else by who asked for the pages."""

from __future__ import annotations

import polars as pl


def owner_name() -> pl.Expr:
    """Who an owner line names, in few words: null where there is no owner line."""
    line = pl.col("owner").str.replace(r" \+[0-9]+ pages of [0-9]+ other owners$", "")
    name = line.str.extract(r" (?:slab_name|name|path):(.*)$")
    caller = line.str.extract(r" caller:(\S+(?: \[[^\]]+\])?)")
    device, inode = line.str.extract(r" dev ([0-9]+:[0-9]+) "), line.str.extract(r" ino:([0-9]+)")
    mapped = line.str.contains(r"^ANON_PAGE address 0x[1-9a-f]")
    pid = line.str.extract(r" pid ([0-9]+)$")
    task = (
        pl.when(mapped & pid.is_not_null()).then(pl.format("pid {}", pid))
        .when(mapped).then(pl.format("pid {} ({})", "tgid", "comm"))
        .when(line.str.starts_with("ANON_PAGE")).then(pl.lit("not mapped"))
    )  # fmt: skip
    rest = line.str.replace(r"^\S+ ?", "").str.replace_all(r" ?0x[0-9a-f]+( - 0x[0-9a-f]+)?", "")
    return pl.coalesce(pl.format("{} ino {}", device, inode), caller, name, task, rest)


def named_owner(records: pl.DataFrame, tails: pl.DataFrame) -> pl.Series:
    """The owner of each of *records*, as in the owners table; *tails* say who asked (``caller``)."""
    named = records.select("stack", owner_name().alias("named"))
    joined = named.join(tails.select("stack", "caller"), on="stack", how="left", maintain_order="left")
    return joined.select(pl.coalesce("named", "caller", pl.lit("")).alias("owner")).to_series()
