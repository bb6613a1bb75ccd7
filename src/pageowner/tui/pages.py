# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pages of one owner as rows of the table."""

from __future__ import annotations

import polars as pl

from pageowner.snapshot.page_name import PageName

BY = "page"


def page_rows(found: pl.DataFrame) -> pl.DataFrame:
    """Rows like those of :func:`pageowner.analyses.watch.compared`, one for each of *found*
    (:data:`pageowner.snapshot.find_pages.FOUND_SCHEMA`), by PFN; ``key`` is the PFN."""
    digits = len(f"{max(found.get_column('pfn').to_list(), default=0):x}")
    pfn = pl.col("pfn").map_elements(lambda number: f"0x{number:0{digits}x}", pl.String)
    who = pl.format(", pid {} ({})", "pid", "comm").fill_null("")
    since = pl.format(", {} s after boot", (pl.col("ts_nsec") / 1e9).round(6)).fill_null("")
    record = pl.when(pl.col("order").is_null()).then(pl.lit("allocation not recorded"))
    note = record.otherwise(pl.format("order {}", "order") + who + since)
    nothing = [pl.lit(None, pl.Int64).alias(name) for name in ("rss", "uss", "change")]
    return found.select(
        "pages",
        *nothing,
        key=pl.col("pfn").cast(pl.String),
        kind=pl.lit(None, pl.String),
        name=pl.format("PFN {}", pfn),
        note=note,
        rate=pl.lit(None, pl.Float64),
        trend=pl.lit(None, pl.List(pl.Int64)),
    )


def page_name(key: str) -> PageName:
    """The page of the row *key*."""
    return PageName("pfn", int(key))
