# SPDX-License-Identifier: LGPL-2.1-or-later
"""``summary`` for people: what meminfo cannot see, the balance sheet by kind, the biggest owners."""

from __future__ import annotations

import io
from typing import BinaryIO

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageowner.analyses.groups import grouped
from pageowner.analyses.kinds import pages_by_kind, top_owners, totals
from pageowner.analyses.unseen import by_module, unseen
from pageowner.escape import one_line
from pageowner.reporters.options import SummaryOptions
from pageowner.reporters.sizes import human_size
from pageowner.snapshot.fields import title_of
from pageowner.snapshot.model import Snapshot

WIDTH = 100


def write_summary_text(snapshot: Snapshot, options: SummaryOptions, out: BinaryIO) -> None:
    """Write the summary to *out*, at most :data:`WIDTH` columns wide, with colour if *options* say so."""
    text = io.StringIO()
    console = Console(file=text, width=WIDTH, force_terminal=options.color, no_color=not options.color)
    if options.part:
        console.print(_kinds_table(pages_by_kind(snapshot.owners), int(snapshot.owners["pages"].sum())))
        console.print(_top_table(snapshot.owners.select("word", "owner", "pages").head(options.rows)))
        out.write(text.getvalue().encode("utf-8", "backslashreplace"))
        return
    sums = totals(snapshot.owners, snapshot.zones)
    hidden = unseen(snapshot.owners)
    console.print(_unseen_line(hidden), highlight=False)
    if hidden.height:
        console.print(_top_table(hidden.select("word", "owner", "pages").head(options.rows)))
    console.print(_kinds_table(pages_by_kind(snapshot.owners), sums["struct_pages"]))
    console.print(_totals_line(sums), highlight=False)
    if snapshot.counters.height:
        console.print(_counters_table(snapshot.counters))
        console.print()
    console.print(_top_table(top_owners(snapshot.owners, options.rows)))
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def write_grouping_text(snapshot: Snapshot, by: str, options: SummaryOptions, out: BinaryIO) -> None:
    """Write ``summary --by`` to *out*: integer columns are pages, shown as sizes."""
    text = io.StringIO()
    console = Console(file=text, width=WIDTH, force_terminal=options.color, no_color=not options.color)
    found = grouped(snapshot, by, options.rows)
    rows = found.rows
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    sizes = [name for name in rows.columns if rows.schema[name] == pl.Int64]
    for name in rows.columns:
        title = title_of(f"by-{by}", name)
        table.add_column(title, justify="right" if name in sizes else "left", overflow="fold")
    for row in rows.iter_rows(named=True):
        table.add_row(*(_cell(k, v, k in sizes) for k, v in row.items()))
    table.add_section()
    first = rows.columns[0]
    if found.more:
        sizes_of = {name: human_size(pages * 4096) for name, pages in found.hidden.items()}
        row = {first: f"({found.more} more rows)", **sizes_of}
        table.add_row(*(row.get(name, "") for name in rows.columns))
    ends = [(found.rest, found.rest_pages)] if found.rest_pages else []
    for name, pages in (*ends, ("total", found.total)):
        row = {first: name, found.measure: human_size(pages * 4096)}
        table.add_row(*(row.get(name, "") for name in rows.columns))
    console.print(table)
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _cell(name: str, value: object, is_size: bool) -> str | Text:
    """A size or a text; nothing for null."""
    if is_size:
        return human_size(int(str(value)) * 4096)
    return Text(one_line("" if value is None else str(value)))


def _kinds_table(kinds: pl.DataFrame, struct_pages: int) -> Table:
    table = _table("kind", "pages", "size", "%")
    for word, pages, size in kinds.select("word", "pages", "bytes").iter_rows():
        table.add_row(word, str(pages), human_size(size), f"{100 * pages / max(struct_pages, 1):.2f}")
    return table


def _unseen_line(hidden: pl.DataFrame) -> str:
    """The lost memory in one line, and which modules asked for it."""
    total = human_size(int(hidden.get_column("pages").sum()) * 4096)
    modules = [
        f"{module} {human_size(pages * 4096)}" for module, pages in by_module(hidden).head(5).iter_rows()
    ]
    return f"{total} that no line of /proc/meminfo counts" + (
        f"; modules: {', '.join(modules)}" if modules else ""
    )


def _totals_line(sums: dict[str, int]) -> str:
    if "present" not in sums:
        return f"{sums['struct_pages']} pages in the text"
    return (
        f"{sums['struct_pages']} struct pages = {sums['holes']} holes + {sums['present']} present; "
        f"present = {sums['reserved']} reserved + {sums['managed']} managed"
    )


def _counters_table(counters: pl.DataFrame) -> Table:
    """The kernel's counters beside our sums, in pages."""
    table = _table("the kernel's counter", "kernel", "ours", "unexplained", "formula")
    table.columns[4].justify, table.columns[4].no_wrap = "left", False
    for name, kernel, ours, formula, unexplained in counters.iter_rows():
        table.add_row(name, str(kernel), str(ours), str(unexplained), formula)
    return table


def _top_table(top: pl.DataFrame) -> Table:
    table = _table("owner", "pages", "size", "kind")
    table.columns[3].justify = "left"
    for word, owner, pages in top.iter_rows():
        table.add_row(Text(one_line(owner)), str(pages), human_size(pages * 4096), word)
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    return table
