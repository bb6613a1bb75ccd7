# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``pageowner top`` knows, without a screen: the moments, the view, when to scan, what it has cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from pageowner.analyses.filters import Filter
from pageowner.analyses.watch import WHOLE, matching
from pageowner.errors import PageownerError
from pageowner.snapshot.rescan import created
from pageowner.sources.live import mem_available
from pageowner.sources.selection import SourceSelection
from pageowner.tui.client import Client
from pageowner.tui.cost import cpu_seconds, resident
from pageowner.tui.filterline import Typed, line_of
from pageowner.tui.pace import Pace
from pageowner.tui.pages import page_rows
from pageowner.tui.protocol import Answer, FindPages, Take
from pageowner.tui.series import Moment, Series
from pageowner.tui.view import Rows, Step, View, compute, in_order

_EXACT = ("word", "owner", "node", "zone_name", "functions")
"""What conditions may be about if usage tables are to answer: their orders and times are of whole groups."""


@dataclass
class Cost:
    """Of this process and its child together: ``cpu``: share of one CPU between the last two scans;
    ``memory``: bytes that both have; ``scan``: seconds of the last scan."""

    cpu: float = 0.0
    memory: int = 0
    scan: float = 0.0
    _cpu_then: float = 0.0
    _then: float = 0.0

    def count(self, answer: Answer, of_dead: float) -> None:
        """Take in what the child says of itself."""
        now, cpu = time.monotonic(), cpu_seconds() + answer.cpu + of_dead
        if self._then:
            self.cpu = (cpu - self._cpu_then) / max(now - self._then, 0.001)
        self._then, self._cpu_then = now, cpu
        self.memory, self.scan = resident() + answer.memory, answer.seconds


@dataclass
class Session:
    """``live``: the last source changes. ``whole``: the moments of all pages; ``series``: those that are
    looked at, which may be of a filter's pages only."""

    client: Client
    selections: tuple[SourceSelection, ...]
    live: bool
    pace: Pace = field(default_factory=Pace)
    view: View = field(default_factory=View)
    cost: Cost = field(default_factory=Cost)
    paused: bool = False
    error: str = ""
    pages: pl.DataFrame | None = None
    """Where the pages of one owner are, when one has gone that far in."""
    pages_of: str = ""

    def __post_init__(self) -> None:
        self.whole = self.series = self._new_series()
        self._began = self._ended = 0.0

    def _new_series(self) -> Series:
        return Series(keep_all=not self.live)

    # -- scanning ------------------------------------------------------------------------------

    @property
    def filling(self) -> bool:
        """Whether sources are still to be looked at for the first time."""
        return self.series.next_source < len(self.selections)

    def due(self) -> bool:
        """Whether it is time for a scan."""
        if self.filling:
            return not self._ended or not self.error or self.remaining() <= 0
        return self.live and not self.paused and self.remaining() <= 0

    def remaining(self) -> float:
        """Seconds until the next scan."""
        return self._ended + self.pace.wait(mem_available()) - time.monotonic()

    def request(self) -> Take | None:
        """What to ask the child for; None when there must be no scan now."""
        refusal = self.pace.refusal(mem_available()) if self.live and self.series.moments else None
        if refusal is not None:
            self.error, self._ended = refusal, time.monotonic()
            return None
        self._began = time.monotonic()
        return Take(min(self.series.next_source, len(self.selections) - 1), self.remote)

    def scanned(self, request: Take, answer: Answer) -> bool:
        """Take in the answer to a scan; whether there is a new picture."""
        self._ended = time.monotonic()
        self.cost.count(answer, self.client.cpu_of_dead)
        if request.wanted != self.remote:
            return False  # asked for before the filter was changed
        if answer.error is not None:
            self.error = answer.error
            self.pace.failures += 1
            if self.filling and not (self.live and request.at == len(self.selections) - 1):
                self.series.next_source += 1  # a stored source will not mend
            return False
        self.error, self.pace.failures, self.pace.scan = "", 0, answer.seconds
        self.series.next_source = max(self.series.next_source, request.at + 1)
        self.series.add(self._moment(request, answer))
        return True

    def _moment(self, request: Take, answer: Answer) -> Moment:
        selection = self.selections[request.at]
        then = created(selection)
        changing = self.live and request.at == len(self.selections) - 1
        when = datetime.now() if changing else then and then.astimezone()
        seconds = when.timestamp() if when else 0.0
        name = str(selection.path.name if selection.path else selection.address or selection.kind)
        return Moment(self.series.next_number, answer.value, when, seconds, request.at, name, request.wanted)

    # -- the filter ----------------------------------------------------------------------------

    @property
    def remote(self) -> Filter | None:
        """The filter that scans apply, since the tables of whole moments do not say enough."""
        wanted = self.view.typed.wanted
        return wanted if wanted is not None and self.series is not self.whole else None

    def set_typed(self, typed: Typed) -> None:
        """Filter by *typed* from now on; where tables cannot tell, scans will."""
        self.view = replace(self.view, typed=typed)
        if typed.wanted is None or self._tables_can_tell(typed.wanted):
            self.series = self.whole
            return
        self.series, self._ended = self._new_series(), 0.0

    def enter_cgroup(self, path: str) -> None:
        """Only what is charged to the cgroup *path*, by kind: that takes a scan."""
        wanted = replace(self.view.typed.wanted or Filter(), cgroups=(path,))
        steps = (*self.view.steps, Step(self.view.by, path, self.view.where))
        self.view = replace(self.view, by="kind", steps=steps)
        self.set_typed(Typed(wanted=wanted, line=line_of(wanted)))

    def leave(self) -> bool:
        """One level out; whether there was one."""
        outside, inside = self.view.left(), self.view
        if outside is None:
            return False
        self.view = outside
        if inside.steps[-1].by == "cgroup":
            self.set_typed(Typed())
        return True

    def set_group(self, by: str) -> None:
        """Group by *by* from now on, within what was entered."""
        self.pages = None
        self.view = view = replace(self.view, by=by)
        if view.typed.wanted is not None and (by in WHOLE) == (self.series is self.whole):
            self.set_typed(view.typed)

    def _tables_can_tell(self, wanted: Filter) -> bool:
        """Whether the tables of moments say to the page which are *wanted*."""
        if self.view.by in WHOLE or not self.whole.moments:
            return False
        return all(column in _EXACT for column, _ in wanted.conditions())

    # -- the table -----------------------------------------------------------------------------

    def rows(self, with_trend: bool) -> Callable[[], Rows | None]:
        """What works out what the table is to show now; it may run in a thread, and gives None before the
        first picture. It raises ``PageownerError`` when the source does not say what is asked for."""
        pages, view, series = self.pages, self.view, self.series.copy()
        if pages is not None:
            return lambda: _page_rows(pages, view)
        return lambda: _rows(view, series, with_trend)

    def find_pages(self, key: str) -> FindPages | None:
        """The question where the pages of row *key* are, when they are one owner's."""
        where = self.view.pages_of(key)
        if where is None or not self.series.moments:
            return None
        shown = self.series.shown
        known = shown.snapshot.owners.filter(pl.col("id") == where.id)
        if not known.height:
            return None
        word, owner = known.select("word", "owner").row(0)
        wanted = self.view.typed.wanted
        if where.node is not None:  # kind, owner and stack say the rest
            wanted = replace(wanted or Filter(), nodes=(where.node,))
        return FindPages(shown.source, word, owner, where.stack, wanted)


def _page_rows(pages: pl.DataFrame, view: View) -> Rows:
    frame = page_rows(pages)
    if view.typed.text:
        frame = matching(frame, view.typed.text)
    return Rows(in_order(frame, view), int(frame.get_column("pages").sum()))


def _rows(view: View, series: Series, with_trend: bool) -> Rows | None:
    if not series.moments:
        return None
    try:
        return compute(view, series, with_trend)
    except KeyError:
        raise PageownerError(f"this source does not say which pages belong to which {view.by}") from None
