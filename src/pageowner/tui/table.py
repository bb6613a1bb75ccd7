# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table on the screen: as many rows as there are, of which only those that show are ever made."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pageowner.tui.columns import Column, Row, Units, column_at, columns, row_line, title_line

_CURSOR = Style(reverse=True)
_TITLES = Style(reverse=True)


class OwnerTable(ScrollView, can_focus=True):
    """Rows under a line of titles; one of them is the cursor's, and stays so when rows change."""

    BINDINGS = [  # noqa: RUF012 -- textual's way
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000000)", show=False),
        Binding("end", "move(1000000000)", show=False),
    ]

    @dataclass
    class Entered(Message):
        """A row was chosen with the mouse."""

    @dataclass
    class Moved(Message):
        """The cursor is on another row, or the row says something else."""

    @dataclass
    class SortBy(Message):
        """A title was clicked."""

        sort: str

    def __init__(self) -> None:
        super().__init__(id="table")
        self.frame = pl.DataFrame()
        self.cursor = 0
        self._moved = False
        self._by, self._sort, self._descending = "kind", "size", True
        self._units, self._kinds, self._compared = Units(), False, False

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self.frame.row(self.cursor, named=True) if self.cursor < self.frame.height else None

    def show(
        self, frame: pl.DataFrame, by: str, sort: tuple[str, bool], units: Units, kinds: bool, compared: bool
    ) -> None:
        """Put other rows into the table. The cursor stays on the same owner if the user has placed it."""
        key = self.row["key"] if self.row and self._moved else None
        same = by == self._by
        self.frame, self._by, self._units, self._kinds, self._compared = frame, by, units, kinds, compared
        self._sort, self._descending = sort
        at = self.cursor
        if key is not None and same:
            found = frame.get_column("key").index_of(key) if frame.height else None
            at = self.cursor if found is None else found
        self.virtual_size = Size(self.size.width, frame.height + 1)
        self._place(at)

    def top(self) -> None:
        """The cursor to the first row: what follows is another table."""
        self._moved = False
        self._place(0)

    def place(self, key: str) -> None:
        """The cursor to the row *key*, if it is there."""
        found = self.frame.get_column("key").index_of(key) if self.frame.height else None
        if found is not None:
            self._moved = True
            self._place(found)

    def action_move(self, by: int) -> None:
        """Move the cursor *by* rows."""
        self._moved = True
        self._place(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor *by* screens."""
        self.action_move(by * max(1, self.size.height - 2))

    def _place(self, at: int) -> None:
        self.cursor = min(max(at, 0), max(self.frame.height - 1, 0))
        if self.cursor == 0:
            self._moved = False  # at the top one wants to see what is at the top
        self._reveal()
        self.refresh()
        self.post_message(self.Moved())

    def _reveal(self) -> None:
        visible = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= top + visible:
            self.scroll_to(y=self.cursor - visible + 1, animate=False, force=True)

    def on_resize(self, event: events.Resize) -> None:
        """Other columns may fit."""
        self.virtual_size = Size(event.size.width, self.frame.height + 1)
        self._reveal()

    def on_click(self, event: events.Click) -> None:
        """A title sorts; a row takes the cursor, and a second click enters it."""
        event.stop()
        if event.y == 0:
            column = column_at(self._columns(), self._width, event.x)
            if column is not None and column.sort:
                self.post_message(self.SortBy(column.sort))
            return
        at = event.y - 1 + self.scroll_offset.y
        if at >= self.frame.height:
            return
        again = event.chain > 1 and at == self.cursor
        self.action_move(at - self.cursor)
        if again:
            self.post_message(self.Entered())

    @property
    def _width(self) -> int:
        return self.scrollable_content_region.width or self.size.width

    def _columns(self) -> list[Column]:
        return columns(self._by, self._width, self._kinds, self._compared)

    def render_line(self, y: int) -> Strip:
        """The line of titles, or a row below it."""
        width = self._width
        if y == 0:
            line = title_line(self._columns(), self._by, width, self._sort, self._descending)
            return self._strip(line.render(self.app.console), width, _TITLES)
        at = y - 1 + self.scroll_offset.y
        if at >= self.frame.height:
            return Strip.blank(width)
        text = row_line(self._columns(), self.frame.row(at, named=True), width, self._units)
        style = _CURSOR if at == self.cursor else None
        return self._strip(text.render(self.app.console), width, style)

    def _strip(self, segments: object, width: int, style: Style | None) -> Strip:
        made = [s for s in segments if isinstance(s, Segment) and s.text != "\n"]  # type: ignore[attr-defined]
        strip = Strip(made).adjust_cell_length(width)
        return strip.apply_style(style) if style else strip
