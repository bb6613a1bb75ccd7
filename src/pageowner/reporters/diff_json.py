# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diff --json``: one object, schema ``pageowner.diff/1``. Members are only ever added."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import polars as pl

from pageowner.analyses.diff import Diff
from pageowner.analyses.kinds import PAGE_BYTES

SCHEMA = "pageowner.diff/1"


def write_diff_json(found: Diff, sources: list[str], rows: int, out: BinaryIO) -> None:
    """Write the object to *out*: at most *rows* that grew and as many that shrank per table, in bytes."""
    document = {
        "schema": SCHEMA,
        "sources": sources,
        "turnover": found.turnover * PAGE_BYTES,
        "cache": found.cache * PAGE_BYTES,
        "most_growth": found.most_growth * PAGE_BYTES,
    }
    tables = {"kinds": found.kinds, "owners": found.owners, "stacks": found.stacks}
    for name, table in tables.items():
        grew, shrank = grew_and_shrank(table, rows)
        document[name] = {"grew": _rows(grew), "shrank": _rows(shrank)}
    out.write(json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n")


def grew_and_shrank(table: pl.DataFrame, rows: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first *rows* that grew, in the order of *table*, and those that shrank most."""
    grew = table.filter(pl.col("growth") > 0).head(rows)
    shrank = table.filter(pl.col("growth") < 0).sort("growth", maintain_order=True).head(rows)
    return grew, shrank


def _rows(table: pl.DataFrame) -> list[dict[str, Any]]:
    sizes = pl.col("change", "growth") * PAGE_BYTES
    in_bytes = table.with_columns((pl.col("pages") * PAGE_BYTES).alias("bytes"), sizes).drop("pages")
    return in_bytes.to_dicts()
