# SPDX-License-Identifier: LGPL-2.1-or-later
"""``blockers``, for people and as JSON."""

from __future__ import annotations

import io
import json
from typing import Any, BinaryIO

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageowner.analyses.blockers import KIND, Blockers
from pageowner.analyses.kinds import PAGE_BYTES
from pageowner.escape import one_line
from pageowner.reporters.options import SummaryOptions
from pageowner.reporters.sizes import human_size
from pageowner.snapshot.blocked import Unit

SCHEMA = "pageowner.blockers/1"
WIDTH = 100
_MOST_OWNERS = 3
_MOST_NAMES = 8
_MOST_FUNCTIONS = 3
_TITLES = {"pageblock": "pageblocks", "block": "memory blocks", "cma": "CMA areas"}


def write_blockers_text(found: Blockers, unit: Unit, options: SummaryOptions, out: BinaryIO) -> None:
    """Write how many units are free, and the first rows of those that are not."""
    text = io.StringIO()
    console = Console(file=text, width=WIDTH, force_terminal=options.color, no_color=not options.color)
    for line in _heading(found, unit):
        console.print(Text(line), highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("from PFN", justify="right", no_wrap=True)
    table.add_column("type", overflow="fold")
    for name in ("free", "movable", "in the way"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("pages of (first PFN)", overflow="fold")
    for row in found.units.head(options.rows).iter_rows(named=True):
        counts = (str(row[name]) for name in ("free", "movable", "in_the_way"))
        first = f"{one_line(row['name'])}\n0x{row['pfn']:x}" if row["name"] else f"0x{row['pfn']:x}"
        table.add_row(Text(first), Text(row["types"]), *counts, Text(_owners(row["owners"])))
    if found.units.height:
        console.print(table)
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def write_blockers_json(found: Blockers, unit: Unit, rows: int, out: BinaryIO) -> None:
    """The same as one object, in pages."""
    document = {
        "schema": SCHEMA,
        "unit": unit if isinstance(unit, str) else "size",
        "block_pages": _pages(found),
        "free_blocks": found.free.height,
        "movable_blocks": found.movable.height,
        "blocked_blocks": found.units.height,
        "fixed_blocks": found.fixed,
        "free": found.free.head(rows).to_dicts(),
        "movable": found.movable.head(rows).to_dicts(),
        "blocks": found.units.head(rows).to_dicts(),
    }
    out.write(json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n")


def _pages(found: Blockers) -> int | None:
    """Pages of a unit, where all have as many."""
    sizes = pl.concat([table.get_column("n") for table in (found.units, found.free, found.movable)]).unique()
    return int(sizes[0]) if len(sizes) == 1 else None


def _heading(found: Blockers, unit: Unit) -> list[str]:
    pages = _pages(found)
    size = f" of {human_size(pages * PAGE_BYTES)}" if pages else ""
    fixed = f", {found.fixed} with holes or memory reserved at boot" if found.fixed else ""
    lines = [
        f"{_TITLES.get(str(unit), 'blocks')}{size}: {found.free.height} free, {found.movable.height} free "
        f"once movable pages move, {found.units.height} with others in the way{fixed}"
    ]
    for what, table in (("free", found.free), ("free once movable pages move", found.movable)):
        names = [one_line(name) for name in table.get_column("name").to_list() if name]
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        if names:
            lines.append(f"{what}: {', '.join(names[:_MOST_NAMES])}{more}")
    return lines


def _owners(owners: list[dict[str, Any]]) -> str:
    lines = [_owner(one) for one in owners[:_MOST_OWNERS]]
    more = len(owners) - _MOST_OWNERS
    return "\n".join(lines + ([f"and {more} more"] if more > 0 else []))


def _owner(one: dict[str, Any]) -> str:
    why = "" if one["why"] == KIND else f", {one['why']}"
    functions = one["stack"].split(" < ") if one["stack"] else []
    more = " < …" if len(functions) > _MOST_FUNCTIONS else ""
    via = f"\n  from {one_line(' < '.join(functions[:_MOST_FUNCTIONS]))}{more}" if functions else ""
    return f"{one['pages']} {one['word']} {one_line(one['owner'])} (0x{one['pfn']:x}){why}{via}"
