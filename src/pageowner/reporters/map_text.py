# SPDX-License-Identifier: LGPL-2.1-or-later
"""``map`` for the terminal: two cells in a character, one over the other; without colour, a letter each."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from rich import box
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pageowner.analyses.diff import FREE
from pageowner.analyses.zonemap import Stretch, spans_of, stretches, zone_types
from pageowner.errors import PageownerError
from pageowner.escape import escape
from pageowner.reporters.map_numbers import Legend, numbered_runs
from pageowner.reporters.sizes import human_size
from pageowner.snapshot.model import Snapshot

_LINES = 26  # of all pictures together, about
_FAR = 1 << 15  # pages: a longer hole is left out
_PAGE = 4096


@dataclass(frozen=True)
class MapOptions:
    """``by``: kind, mobility, age or process; ``width`` of the terminal; ``pfns``: first and last to show."""

    by: str = "kind"
    width: int = 80
    color: bool = False
    pfns: tuple[int, int] | None = None


def write_map_text(snapshot: Snapshot, options: MapOptions, out: BinaryIO) -> None:
    """Write the map of *snapshot*, which has pages, to *out*: a picture of every zone, the legend, and what
    each zone has of each mobility type.

    :raises PageownerError: when the snapshot does not say what the map is to be coloured by.
    """
    runs, legend = numbered_runs(snapshot, options.by)
    places = snapshot.groupings.get("place")
    text = io.StringIO()
    console = Console(
        file=text,
        width=options.width,
        force_terminal=options.color,
        color_system=_color_system() if options.color else None,
        no_color=not options.color,
        highlight=False,
    )
    spans = _within(spans_of(runs, snapshot.zones, _FAR), options.pfns)
    if not spans:
        raise PageownerError("none of these pages are in a zone; 'pageowner map' without filters shows all")
    across, height = options.width, 2 if options.color else 1
    grain = _grain(spans, across * height)
    for stretch in stretches(runs, spans, grain):
        console.print(Text(_title(snapshot.zones.row(stretch.zone, named=True), stretch)), no_wrap=True)
        for line in _picture(stretch.cells, across, legend, options.color):
            console.print(line, no_wrap=True, overflow="crop")
    for line in _legend(legend, options.width, options.color):
        console.print(line, no_wrap=True, overflow="crop")
    console.print(f"a cell is {grain} pages ({human_size(grain * _PAGE)}), and shows what most of them are")
    console.print(_zone_table(snapshot))
    if places is not None and places.height:
        console.print(_type_table(zone_types(snapshot.pages, places, snapshot.zones)))
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _color_system() -> Literal["standard", "256", "truecolor"]:
    """As many colours as the terminal has: half blocks of 16 colours are a poor map."""
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "truecolor"
    return "standard" if os.environ.get("TERM", "").startswith(("linux", "vt")) else "256"


def _within(
    spans: list[tuple[int, int, int]], pfns: tuple[int, int] | None
) -> list[tuple[int, int, int]]:
    if pfns is None:
        return spans
    low, high = pfns[0], pfns[1] + 1
    return [(zone, max(a, low), min(b, high)) for zone, a, b in spans if a < high and b > low]


def _grain(spans: list[tuple[int, int, int]], cells_a_line: int) -> int:
    """Pages in a cell: a power of two, so that all pictures take about the lines that they may."""
    grain = 1
    while sum(-(-(end - first) // (grain * cells_a_line)) for _, first, end in spans) > _LINES:
        grain *= 2
    return grain


def _title(zone: dict[str, object], stretch: Stretch) -> str:
    return f"node {zone['node']} {zone['zone']} 0x{stretch.pfn:x} - 0x{stretch.last:x}"


def _picture(cells: npt.NDArray[np.int64], across: int, legend: Legend, color: bool) -> list[Text]:
    rows = 2 if color else 1
    lines = max(1, -(-len(cells) // (across * rows)))
    padded = np.zeros(lines * rows * across, np.int64)
    padded[: len(cells)] = cells
    grid = padded.reshape(lines, rows, across)
    return [_halves(line[0], line[1], legend) if color else _letters(line[0], legend) for line in grid]


def _halves(upper: npt.NDArray[np.int64], lower: npt.NDArray[np.int64], legend: Legend) -> Text:
    """A line of half blocks: the upper cell is ink, the lower one paper."""
    text, start = Text(), 0
    edges = np.flatnonzero((np.diff(upper) != 0) | (np.diff(lower) != 0)) + 1
    for end in [*edges.tolist(), len(upper)]:
        over, under = (legend.colors[int(row[start])] for row in (upper, lower))
        if over is None and under is None:
            text.append(" " * (end - start))
        elif over is None:
            text.append("▄" * (end - start), Style(color=under))
        else:
            text.append("▀" * (end - start), Style(color=over, bgcolor=under))
        start = end
    return text


def _letters(row: npt.NDArray[np.int64], legend: Legend) -> Text:
    return Text("".join(legend.letters[number] for number in row.tolist()))


def _legend(legend: Legend, width: int, color: bool) -> list[Text]:
    """What the colours or letters stand for; no entry is broken at the end of a line."""
    lines = [Text()]
    for name, pages, mark, shade in legend.entries(color):
        entry = Text()
        entry.append("█" if color else mark, Style(color=shade) if color else Style())
        entry.append(f" {escape(name)} {human_size(pages * _PAGE)}")
        if lines[-1] and lines[-1].cell_len + 3 + entry.cell_len > width:
            lines.append(Text())
        lines[-1].append("   " if lines[-1] else "").append_text(entry)
    return lines


def _zone_table(snapshot: Snapshot) -> Table:
    """The zones in pages; ``free`` is what the buddy allocator has, without the per-CPU lists."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("zone", no_wrap=True)
    for name in ("start", "spanned", "present", "managed", "free"):
        table.add_column(name, justify="right", no_wrap=True)
    free = snapshot.owners.filter(pl.col("word") == FREE[0]).select("id")
    sums = snapshot.usage.join(free, on="id").group_by("node", "zone").agg(pl.col("pages").sum())
    pages = {(node, zone): n for node, zone, n in sums.iter_rows()}
    for row in snapshot.zones.iter_rows(named=True):
        table.add_row(
            f"node {row['node']} {row['zone']}",
            f"0x{row['start']:x}",
            *(str(row[name]) for name in ("spanned", "present", "managed")),
            str(pages.get((row["node"], row["zone_index"]), 0)),
        )
    return table


def _type_table(types: pl.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("zone", "type of block"):
        table.add_column(name, no_wrap=True)
    for name in ("blocks", "free pages", "used pages"):
        table.add_column(name, justify="right", no_wrap=True)
    for node, zone, mobility, blocks, free, used in types.iter_rows():
        table.add_row(f"node {node} {zone}", mobility, str(blocks), str(free), str(used))
    return table
