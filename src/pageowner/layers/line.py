# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owner-line templates: ``"FILE_PAGE dev {major}:{minor} index:0x{index:x}"`` over columns, in bulk."""

from __future__ import annotations

import string
from functools import lru_cache

import polars as pl

from pageowner.ownertext.alike import text_of_each
from pageowner.ownertext.hextext import hex_text


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
    texts: dict[str, pl.Series] = {}
    for literal, column, spec in parse_line(line):
        if literal:
            parts.append(pl.lit(literal))
        if column is not None:
            name = f"{column}:{spec}"
            texts[name] = texts.get(name, _text(frame.get_column(column), spec).alias(name))
            parts.append(pl.col(name))
    if not texts:
        whole = "".join(literal for literal, _, _ in parse_line(line))
        return pl.repeat(whole, frame.height, dtype=pl.String, eager=True).alias("line")
    return pl.DataFrame(list(texts.values())).select(pl.concat_str(parts).alias("line")).to_series()


def _text(values: pl.Series, spec: str) -> pl.Series:
    if spec:
        return hex_text(values)
    if values.null_count():
        return values.cast(pl.String).fill_null("")
    if values.dtype == pl.String:
        return values
    return text_of_each(values, lambda unlike: unlike.cast(pl.String))
