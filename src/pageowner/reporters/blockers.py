# SPDX-License-Identifier: LGPL-2.1-or-later
"""``blockers`` as text and as JSON (schema ``pageowner.blockers/1``; members are only ever added)."""

from __future__ import annotations

import io
import json
from typing import Any, BinaryIO

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageowner.analyses.kinds import PAGE_BYTES
from pageowner.escape import escape
from pageowner.reporters.options import SummaryOptions
from pageowner.reporters.sizes import human_size

SCHEMA = "pageowner.blockers/1"
WIDTH = 100
_MOST_OWNERS = 3


def write_blockers_text(
    found: pl.DataFrame, whole: tuple[int, int], block: int, options: SummaryOptions, out: BinaryIO
) -> None:
    """Write the first rows of :func:`pageowner.analyses.blockers.blockers`, and how many blocks are free."""
    text = io.StringIO()
    console = Console(file=text, width=WIDTH, force_terminal=options.color, no_color=not options.color)
    console.print(
        f"blocks of {human_size(block * PAGE_BYTES)}: {whole[0]} free, {whole[1]} free once movable pages "
        f"move, {found.height} with others in the way",
        highlight=False,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("block from", "free", "movable", "in the way"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("pages of (first PFN)", overflow="fold")
    for row in found.head(options.rows).iter_rows(named=True):
        counts = (str(row[name]) for name in ("free", "movable", "in_the_way"))
        table.add_row(f"0x{row['pfn']:x}", *counts, Text(_owners(row["owners"])))
    console.print(table)
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def write_blockers_json(
    found: pl.DataFrame, whole: tuple[int, int], block: int, rows: int, out: BinaryIO
) -> None:
    """The same as one object, in pages."""
    document = {
        "schema": SCHEMA,
        "block_pages": block,
        "free_blocks": whole[0],
        "movable_blocks": whole[1],
        "blocked_blocks": found.height,
        "blocks": found.head(rows).to_dicts(),
    }
    out.write(json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n")


def _owners(owners: list[dict[str, Any]]) -> str:
    lines = [f"{one['pages']} {one['word']} {escape(one['owner'])} (0x{one['pfn']:x})" for one in owners]
    more = len(lines) - _MOST_OWNERS
    return "\n".join(lines[:_MOST_OWNERS] + ([f"and {more} more owners"] if more > 0 else []))
