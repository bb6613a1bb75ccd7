# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where all of memory is: pages by kind, and the totals that they must add up to."""

from __future__ import annotations

import polars as pl

PAGE_BYTES = 4096


def pages_by_kind(owners: pl.DataFrame) -> pl.DataFrame:
    """``word``, ``pages``, ``bytes`` of each kind, most pages first, from the owners table."""
    grouped = owners.group_by("word").agg(pl.col("pages").sum())
    return grouped.with_columns((pl.col("pages") * PAGE_BYTES).alias("bytes")).sort(
        "pages", "word", descending=[True, False]
    )


def totals(owners: pl.DataFrame, zones: pl.DataFrame) -> dict[str, int]:
    """``struct_pages`` = ``holes`` + ``present``; ``present`` = ``reserved`` + ``managed``; in pages.

    ``struct_pages`` alone where *zones* does not know its sizes: the owners are of a text's records.
    """
    struct_pages = int(owners.get_column("pages").sum())
    if zones.get_column("present").null_count():
        return {"struct_pages": struct_pages}
    present = int(zones.get_column("present").sum())
    managed = int(zones.get_column("managed").sum())
    return {
        "struct_pages": struct_pages,
        "holes": struct_pages - present,
        "present": present,
        "reserved": present - managed,
        "managed": managed,
    }


def top_owners(owners: pl.DataFrame, rows: int) -> pl.DataFrame:
    """The *rows* owners with most pages, free memory aside."""
    used = owners.filter(~pl.col("word").is_in(["FREE_PAGE", "PCP_FREE_PAGE"]))
    return used.select("word", "owner", "pages").head(rows)
