# SPDX-License-Identifier: LGPL-2.1-or-later
"""The columns of the table: which of them fit, and what a row has in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.style import Style
from rich.text import Text

from pageowner.analyses.kinds import PAGE_BYTES
from pageowner.reporters.palette import family_of
from pageowner.reporters.sizes import human_size
from pageowner.tui.shown import fit, shown

Row = dict[str, Any]
UNITS = ("human", "KiB", "pages")
_BARS = "▁▂▃▄▅▆▇█"
_GREW, _SHRANK, _QUIET = Style(color="red"), Style(color="green"), Style(dim=True)
_PLAIN = Style()


@dataclass(frozen=True)
class Column:
    """``sort``: what a click on its title sorts by ("" for nothing); ``width`` in cells, 0: what is left;
    ``needs``: the width of the screen from which on it is shown."""

    title: str
    sort: str
    width: int
    needs: int
    cell: Callable[[Row, Units], tuple[str, Style]]
    left: bool = False


@dataclass(frozen=True)
class Units:
    """How sizes are written, and what 100 % are, in pages."""

    unit: str = "human"
    whole: int = 0

    def size(self, pages: float) -> str:
        """*pages* in this unit."""
        if self.unit == "pages":
            return f"{pages:.0f}"
        return human_size(round(pages * PAGE_BYTES)) if self.unit == "human" else f"{pages * 4:.0f}K"

    def signed(self, pages: float) -> str:
        """The same with a sign, and nothing for 0."""
        return ("+" if pages > 0 else "") + self.size(pages) if pages else ""


def _change(pages: float | None, units: Units, per: str = "") -> tuple[str, Style]:
    if not pages:
        return "", _PLAIN
    return units.signed(pages) + per, _GREW if pages > 0 else _SHRANK


def _share(row: Row, units: Units) -> tuple[str, Style]:
    return (f"{100 * row['pages'] / units.whole:.1f}" if units.whole else ""), _PLAIN


def _trend(row: Row, units: Units) -> tuple[str, Style]:
    return sparkline(row["trend"] or []), _PLAIN


def _kind(row: Row, units: Units) -> tuple[str, Style]:
    word = row["kind"] or ""
    return word.removesuffix("_PAGE"), kind_style(word)


def _name(row: Row, units: Units) -> tuple[str, Style]:
    style = kind_style(row["name"]) if row["name"] == row["key"] and row["name"].endswith("_PAGE") else _PLAIN
    return shown(row["name"]), style


def _pages(name: str) -> Callable[[Row, Units], tuple[str, Style]]:
    return lambda row, units: ("" if row[name] is None else units.size(row[name]), _PLAIN)


_SIZE = Column("SIZE", "size", 9, 0, _pages("pages"))
_CHANGE = Column("CHANGE", "change", 10, 34, lambda row, units: _change(row["change"], units))
_RATE = Column("RATE", "rate", 11, 60, lambda row, units: _change(row["rate"], units, "/s"))
_SHARE = Column("%", "", 5, 50, _share)
_TREND = Column("TREND", "", 16, 110, _trend, left=True)
_RSS = Column("RSS", "", 9, 78, _pages("rss"))
_USS = Column("USS", "", 9, 90, _pages("uss"))
_KIND = Column("KIND", "kind", 13, 70, _kind, left=True)
_NAME = Column("", "name", 0, 0, _name, left=True)


def columns(by: str, width: int, kinds: bool, compared: bool) -> list[Column]:
    """What fits into *width* cells of a table by *by*; *kinds*: its rows are of several kinds; *compared*:
    with another moment."""
    chosen = [_SIZE, _CHANGE, _RATE, _SHARE, _TREND] if compared else [_SIZE, _SHARE]
    if by == "process":
        chosen[1:1] = [_RSS, _USS]
    chosen += [_KIND] if kinds else []
    return [column for column in [*chosen, _NAME] if width >= column.needs]


def title_line(chosen: list[Column], by: str, width: int, sort: str, descending: bool) -> Text:
    """The line of titles; the one that is sorted by has an arrow."""
    line = Text()
    for column, cells in _placed(chosen, width):
        title = column.title or by.upper()
        if by == "process" and column.sort == "size":
            title = "PSS"
        mark = ("▼" if descending else "▲") if column.sort == sort else ""
        style = "bold" if mark else ""
        text = f"{title}{mark}" if column.left else f"{mark}{title}".rjust(cells)
        line.append(fit(text, cells) + " ", style)
    line.truncate(width)
    return line


def row_line(chosen: list[Column], row: Row, width: int, units: Units) -> Text:
    """One row."""
    line = Text(no_wrap=True)
    for column, cells in _placed(chosen, width):
        text, style = column.cell(row, units)
        note = shown(row["note"] or "") if column.width == 0 else ""
        if note and len(text) + 2 < cells:
            line.append(fit(text, len(text)) + "  ", style)
            line.append(fit(note, cells - len(text) - 2), _QUIET)
            continue
        line.append(fit(text, cells) if column.left else fit(text.rjust(cells), cells), style)
        line.append(" ")
    line.truncate(width)
    return line


def column_at(chosen: list[Column], width: int, x: int) -> Column | None:
    """The column in whose title or cells *x* lies."""
    left = 0
    for column, cells in _placed(chosen, width):
        if left <= x <= left + cells:
            return column
        left += cells + 1
    return None


def _placed(chosen: list[Column], width: int) -> list[tuple[Column, int]]:
    rest = width - sum(column.width + 1 for column in chosen if column.width)
    return [(column, column.width or max(rest, 0)) for column in chosen]


def sparkline(values: list[int]) -> str:
    """A bar per value, from the least to the most of them; flat ones low."""
    if not values:
        return ""
    low, span = min(values), max(values) - min(values)
    steps = len(_BARS) - 1
    return "".join(_BARS[round((value - low) * steps / span)] if span else _BARS[0] for value in values)


def kind_style(word: str) -> Style:
    """The colour of a kind's family; free memory has that of all text."""
    family = family_of(word)
    return _PLAIN if family.name == "free" else Style(color=family.dark)
