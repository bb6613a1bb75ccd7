# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owner-line templates: ``"FILE_PAGE dev {major}:{minor} index:0x{index:x}"`` over columns, in bulk."""

from __future__ import annotations

import string
from functools import lru_cache

import polars as pl

from pageowner.ownertext.hextext import hex_text

_HEX = "\0hex"


@lru_cache(maxsize=256)
def parse_line(line: str) -> tuple[tuple[str, str | None, str], ...]:
    """The template's pieces: (literal text, column or None, format ``""`` or ``"x"``).

    :raises ValueError: for a template that is not of that form.
    """
    pieces = []
    for literal, column, spec, conversion in string.Formatter().parse(line):
        if conversion or spec not in (None, "", "x"):
            raise ValueError(f"owner line {line!r}: only {{column}} and {{column:x}} are understood")
        pieces.append((literal, column, spec or ""))
    return tuple(pieces)


def line_columns(line: str) -> set[str]:
    """Names of the columns that *line* uses."""
    return {column for _, column, _ in parse_line(line) if column}


def render_lines(line: str, frame: pl.DataFrame) -> pl.Series:
    """*line* filled in for each row of *frame*; a null column counts as an empty string."""
    parts: list[pl.Expr] = []
    extra: list[pl.Series] = []
    for literal, column, spec in parse_line(line):
        if literal:
            parts.append(pl.lit(literal))
        if column is None:
            continue
        if spec == "x":
            extra.append(hex_text(frame.get_column(column)).alias(_HEX + column))
            parts.append(pl.col(_HEX + column))
        else:
            parts.append(pl.col(column).cast(pl.String).fill_null(""))
    unique = {series.name: series for series in extra}
    # with_columns, not select: a template of nothing but text has a row per page, too.
    whole = frame.with_columns(*unique.values()).with_columns(pl.concat_str(parts).alias("line"))
    return whole.get_column("line")
