# SPDX-License-Identifier: LGPL-2.1-or-later
"""The screen of ``pageowner top``: asks the child, works out rows in threads, draws. Keys are in ``app``."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import TypeVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Footer, Static

from pageowner.errors import PageownerError
from pageowner.tui import lines
from pageowner.tui.columns import Units
from pageowner.tui.meter import Memory, bar, legend, memory
from pageowner.tui.pages import BY
from pageowner.tui.protocol import Answer, Request, Take
from pageowner.tui.session import Session
from pageowner.tui.shown import shown
from pageowner.tui.table import OwnerTable
from pageowner.tui.view import Rows

T = TypeVar("T")
_TICK = 0.5
_TREND_NEEDS = 110


class Board(App[None]):
    """Shows *session*, and goes on scanning as it says."""

    CSS_PATH = "top.tcss"
    TITLE = "pageowner top"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, session: Session) -> None:
        super().__init__(ansi_color=True)  # the terminal's own colours, or with NO_COLOR none at all
        self.session = session
        self.asking = 0
        """Questions that the child has not answered yet."""
        self._asked = 0.0
        self._working = 0
        self.unit = "human"
        self.inside: list[str] = []
        """Keys of the rows that were entered on the way here, for the way back."""
        self.place_at: str | None = None
        """The row that is to have the cursor when rows come."""
        self._remark = self._said = ""
        self._memory: Memory | None = None
        self._drawn: dict[str, Text] = {}
        self._wanted = self._computing = False

    # -- the layout ----------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        for name in ("title", "bar", "legend", "where"):
            yield Static(id=name)
        yield OwnerTable()
        for name in ("detail", "message", "cost"):
            yield Static(id=name)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin."""
        self.theme = "ansi-dark"
        self.query_one(OwnerTable).focus()
        self.set_interval(_TICK, self._tick)
        self._tick()
        for number in (signal.SIGTERM, signal.SIGHUP):  # the terminal is to be as it was
            asyncio.get_running_loop().add_signal_handler(number, self._end, number)

    def _end(self, number: int) -> None:
        self.exit(return_code=128 + number)

    def on_resize(self, event: events.Resize) -> None:
        """Small screens keep the table and give up the rest."""
        self.set_class(event.size.height < 20, "-low")
        self.set_class(event.size.height < 12, "-lowest")
        self.call_after_refresh(self.draw_lines)
        self.call_after_refresh(self.refresh_rows)

    def on_unmount(self) -> None:
        """Whoever still waits for the child is not to wait any longer."""
        self.session.client.close()

    # -- scanning ------------------------------------------------------------------------------

    def _tick(self) -> None:
        if not self.asking and self.session.due():
            self.scan()
        self.draw_lines()

    def scan(self) -> None:
        """Scan now, if that may be."""
        request = self.session.request()
        if request is not None:
            self.ask(request, lambda answer: self._scanned(request, answer))

    def _scanned(self, request: Take, answer: Answer) -> None:
        if self.session.scanned(request, answer):
            self.refresh_rows()
        self.draw_lines()

    def ask(self, request: Request, then: Callable[[Answer], None]) -> None:
        """Ask the child in a thread; *then* gets the answer here."""
        if not self.asking:
            self._asked = time.monotonic()
        self.asking += 1

        def work() -> None:
            answer = self.session.client.ask(request)
            if not self.session.client.closed:
                self.call_from_thread(self._answered, answer, then)

        self.run_worker(work, thread=True, group="child")

    def in_thread(self, work: Callable[[], T], then: Callable[[T], object]) -> None:
        """Do *work* in a thread; *then* gets what it returns here."""
        self._working += 1

        def run() -> None:
            result = work()
            if not self.session.client.closed:
                self.call_from_thread(self._worked, result, then)

        self.run_worker(run, thread=True, group="work")

    def _worked(self, result: T, then: Callable[[T], object]) -> None:
        self._working -= 1
        then(result)

    def _answered(self, answer: Answer, then: Callable[[Answer], None]) -> None:
        self.asking -= 1
        then(answer)

    # -- drawing -------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether nothing is being asked or worked out."""
        return not (self.asking or self._computing or self._working)

    def refresh_rows(self) -> None:
        """Work out the rows anew, in a thread: there may be many."""
        if self._computing:
            self._wanted = True
            return
        self._computing = True
        make = self.session.rows(self.size.width >= _TREND_NEEDS)
        moments = self.session.series.moments
        owners = self.session.series.shown.snapshot.owners if moments else None

        def work() -> None:
            try:
                rows: Rows | PageownerError | None = make()
            except PageownerError as error:
                rows = error
            found = memory(owners) if owners is not None else None
            self.call_from_thread(self._computed, rows, found)

        self.run_worker(work, thread=True, group="rows")

    def _computed(self, rows: Rows | PageownerError | None, found: Memory | None) -> None:
        self._computing, self._memory = False, found
        if self._wanted:
            self._wanted = False
            self.refresh_rows()
            return
        if isinstance(rows, PageownerError):
            self._remark = str(rows)
        elif rows is not None:
            self._remark = rows.remark
            self._show(rows)
        self.draw_lines()

    def _show(self, rows: Rows) -> None:
        session, table = self.session, self.query_one(OwnerTable)
        view = session.view
        by = view.by if session.pages is None else BY
        kinds = by == "owner" and view.where.word is None
        units = Units(self.unit, self._memory.total if self._memory else 0)
        compared = session.pages is None and len(session.series.moments) > 1
        table.show(rows.frame, by, (view.sort, view.descending), units, kinds, compared)
        if self.place_at is not None:
            table.place(self.place_at)
            self.place_at = None

    def draw_lines(self) -> None:
        """All that stands above and below the table."""
        if not self.is_running:
            return
        session, width = self.session, self.size.width
        table = self.query_one(OwnerTable)
        busy = time.monotonic() - self._asked if self.asking else None
        self._put("title", lines.title(session, width, busy))
        if self._memory is not None:
            self._put("bar", bar(self._memory, width))
            self._put("legend", legend(self._memory, width))
        pages = int(table.frame.get_column("pages").sum()) if table.frame.width else 0
        self._put("where", lines.where(session, pages, table.frame.height, width))
        self._put("detail", lines.detail(session, table.row))
        said = Text(shown(self._said), "bold") if self._said else lines.message(session, self._remark, width)
        self.query_one("#message").display = bool(said)
        self._put("message", said)
        self._put("cost", lines.cost(session))

    def say(self, text: str) -> None:
        """Show *text* below the table until the next key."""
        self._said = text
        self.draw_lines()

    def on_key(self) -> None:
        """What was said has been read."""
        self._said = ""

    def _put(self, name: str, text: Text) -> None:
        """Drawing costs, so only what has changed is drawn."""
        if self._drawn.get(name) != text:
            self._drawn[name] = text
            self.query_one(f"#{name}", Static).update(text, layout=name == "message")
