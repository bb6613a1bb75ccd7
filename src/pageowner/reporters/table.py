# SPDX-License-Identifier: LGPL-2.1-or-later
"""Any table: as text, as CSV, as JSON, as JSON lines, as Parquet."""

from __future__ import annotations

import io
import json
from typing import BinaryIO, Literal

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageowner.errors import PageownerError
from pageowner.escape import one_line
from pageowner.reporters.options import SummaryOptions

SCHEMA = "pageowner.sql/1"
WIDTH = 160


def write_table_text(table: pl.DataFrame, options: SummaryOptions, out: BinaryIO) -> None:
    """All rows of *table*; numbers to the right, lines of a text one below the other."""
    text = io.StringIO()
    console = Console(file=text, width=WIDTH, force_terminal=options.color, no_color=not options.color)
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, dtype in table.schema.items():
        number = dtype.is_numeric()
        side: Literal["left", "right"] = "right" if number else "left"
        shown.add_column(one_line(name), justify=side, overflow="fold", no_wrap=number)
    for row in table.iter_rows():
        shown.add_row(*(Text(_cell(value)) for value in row))
    console.print(shown)
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def write_table_json(table: pl.DataFrame, out: BinaryIO) -> None:
    """One object, schema ``pageowner.sql/1``: ``columns`` (names) and ``rows`` (objects)."""
    document = {"schema": SCHEMA, "columns": table.columns, "rows": _plain(table).to_dicts()}
    out.write(json.dumps(document, ensure_ascii=True, indent=1, default=str).encode() + b"\n")


def write_table_csv(table: pl.DataFrame, out: BinaryIO) -> None:
    """RFC 4180 with a header line.

    :raises PageownerError: for columns of lists or structures, which CSV cannot hold.
    """
    try:
        out.write(table.write_csv().encode())
    except pl.exceptions.PolarsError as error:
        raise PageownerError("CSV cannot hold lists: select plain columns, or use --json") from error


def write_table_jsonl(table: pl.DataFrame, out: BinaryIO) -> None:
    """An object per line."""
    for row in _plain(table).iter_rows(named=True):
        out.write(json.dumps(row, ensure_ascii=True, default=str).encode() + b"\n")


def write_table_parquet(table: pl.DataFrame, out: BinaryIO) -> None:
    """One Parquet file."""
    data = io.BytesIO()
    table.write_parquet(data, compression="zstd")
    out.write(data.getvalue())


def _plain(table: pl.DataFrame) -> pl.DataFrame:
    """*table* without the numbers that JSON has not: NaN and infinity are null."""
    return table.with_columns(pl.when(pl.selectors.float().is_finite()).then(pl.selectors.float()))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return "\n".join(one_line(line) for line in str(value).split("\n"))
