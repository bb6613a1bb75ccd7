# SPDX-License-Identifier: LGPL-2.1-or-later
"""``diff`` for people: what grew and what shrank, by kind, by owner and by call stack."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, BinaryIO

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageowner.analyses.diff import Diff
from pageowner.analyses.kinds import PAGE_BYTES
from pageowner.escape import one_line
from pageowner.reporters.diff_json import grew_and_shrank
from pageowner.reporters.options import SummaryOptions
from pageowner.reporters.sizes import human_size

WIDTH = 100
_MOST_SIZES = 4
"""Snapshots whose sizes fit beside each other; of more the first and the last ones are shown."""


def write_diff_text(found: Diff, options: SummaryOptions, out: BinaryIO) -> None:
    """Write *found* to *out*; nothing at all when nothing differs."""
    text = io.StringIO()
    console = Console(file=text, width=WIDTH, force_terminal=options.color, no_color=not options.color)
    tables = (
        ("owner", found.owners, ("word", "owner")),
        ("call stack, innermost first", found.stacks, ("stack",)),
        ("kind", found.kinds, ("word",)),
    )
    for title, table, names in tables:
        grew, shrank = grew_and_shrank(table, options.rows)
        for verb, rows in (("grew", grew), ("shrank", shrank)):
            if rows.height:
                console.print(_table(f"{title} that {verb}", rows, names))
    for pages, what in (
        (found.turnover, "of new owners, which took the place of others that are gone,"),
        (found.cache, "more page cache, which the kernel gives back when memory is needed,"),
    ):
        if pages:
            console.print(f"{human_size(pages * PAGE_BYTES)} {what} is not growth", highlight=False)
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _table(title: str, rows: pl.DataFrame, names: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("growth", justify="right", no_wrap=True)
    for column in _sizes(["before", *_numbers(rows), "now"]):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(title, overflow="fold")
    for row in rows.iter_rows(named=True):
        mark = "" if row["growth"] < 0 else "+"
        sizes = [human_size(pages * PAGE_BYTES) for pages in row["pages"]]
        table.add_row(mark + human_size(row["growth"] * PAGE_BYTES), *_sizes(sizes), _name(row, names))
    return table


def _numbers(rows: pl.DataFrame) -> list[str]:
    return [str(at + 2) for at in range(len(rows["pages"][0]) - 2)]


def _sizes(texts: list[str]) -> list[str]:
    return texts if len(texts) <= _MOST_SIZES else [texts[0], *texts[1 - _MOST_SIZES :]]


def _name(row: dict[str, Any], names: Sequence[str]) -> Text:
    name = " ".join(one_line(str(row[name])) for name in names)
    via = row.get("stack", "") if "owner" in names else ""
    return Text(name + (f"\n  from {one_line(_first(via))}" if via else ""))


def _first(stack: str) -> str:
    functions = stack.split(" < ")
    return " < ".join(functions[:3]) + (" < …" if len(functions) > 3 else "")
