# SPDX-License-Identifier: LGPL-2.1-or-later
"""``layers`` for people: a paragraph per layer, 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, BinaryIO

import polars as pl

from pageowner.escape import escape

WIDTH = 80
_OWN = "pageowner.layers."


def write_layers_text(layers: pl.DataFrame, out: BinaryIO) -> None:
    """Write the rows of :func:`pageowner.snapshot.layer_table.layers_at_work` to *out*."""
    text = "\n".join("\n".join(_paragraph(row)) + "\n" for row in layers.iter_rows(named=True))
    out.write(text.encode("utf-8", "backslashreplace"))


def _paragraph(row: dict[str, Any]) -> Iterator[str]:
    state = f"{row['pages']} pages" if row["ok"] else "does not work here"
    yield f"{row['word']:<20} {state}"
    if row["why"]:
        yield from _wrapped(f"why: {row['why']}")
    yield from _wrapped(row["claims"])
    if row["needs"]:
        yield from _wrapped("needs " + ", ".join(row["needs"]))
    if not row["from"].startswith(_OWN):
        yield from _wrapped(f"comes from {row['from']}")
    if row["stale"]:
        yield from _wrapped(f"lists {row['stale']} pages that are free or another's")
    if row["users"]:
        yield from _wrapped(f"uses {row['users']} pages that a stronger layer owns")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(escape(text), WIDTH, initial_indent="    ", subsequent_indent="      ")
