# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is to be shown, and the rows that show it: from moments to one table."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

import polars as pl

from pageowner.analyses.watch import WHOLE, Narrow, compared, matching, rows, trend
from pageowner.snapshot.part import part_of
from pageowner.tui.filterline import Typed
from pageowner.tui.series import Moment, Series

SORTS = ("size", "change", "rate", "kind", "name")
_COLUMN = {"size": "pages", "change": "change", "rate": "rate", "kind": "kind", "name": "name"}
TREND = 16
"""Moments that a trend shows."""
MOST_TRENDS = 20_000
"""Rows beyond which none is shown: a moment's rows are worked out for each of its points."""
MOST_BYTES = 32 << 20


@dataclass(frozen=True)
class Step:
    """One level that was entered: its grouping, what was chosen in it (as text), and where that led to."""

    by: str
    title: str
    where: Narrow


@dataclass(frozen=True)
class View:
    """``by``: the grouping; ``steps``: what was entered on the way here; ``typed``: the filter."""

    by: str = "kind"
    steps: tuple[Step, ...] = ()
    typed: Typed = field(default_factory=Typed)
    sort: str = "size"
    descending: bool = True

    @property
    def where(self) -> Narrow:
        """What all steps leave."""
        return self.steps[-1].where if self.steps else Narrow()

    def entered(self, key: str, title: str) -> View | None:
        """The view of what is inside the row *key*; None when its pages are next, or nothing is."""
        where = _inside(self.where, self.by, key)
        following = _next(where) if where is not None else None
        if where is None or following is None:
            return None
        typed = self.typed if self.typed.wanted else Typed()  # a word is looked for in one table only
        return replace(self, by=following, steps=(*self.steps, Step(self.by, title, where)), typed=typed)

    def left(self) -> View | None:
        """The view from which this one was entered; None at the top."""
        if not self.steps:
            return None
        return replace(self, by=self.steps[-1].by, steps=self.steps[:-1])

    def pages_of(self, key: str) -> Narrow | None:
        """Whose pages are inside the row *key*, when that is one owner's; else None."""
        where = _inside(self.where, self.by, key)
        return where if where is not None and where.id is not None and _next(where) is None else None


def _inside(where: Narrow, by: str, key: str) -> Narrow | None:
    match by:
        case "kind":
            return replace(where, word=key)
        case "owner":
            return replace(where, id=int(key))
        case "stack":
            return replace(where, stack=int(key))
        case "node":
            return replace(where, node=int(key))
        case "module":
            return replace(where, module=key)
        case "process":
            pid = key.removeprefix("pid ").split(" ", 1)[0]
            return replace(where, pid=int(pid)) if pid.isdecimal() else None
        case _:
            return None


def _next(where: Narrow) -> str | None:
    """The grouping of what is inside: kind, then owner, then stack, then nothing but pages."""
    if where.id is None:
        return "owner" if where.word or where.stack is not None or where.pid is not None else "kind"
    return "stack" if where.stack is None else None


@dataclass(frozen=True)
class Rows:
    """What is shown: ``frame`` as of :func:`pageowner.analyses.watch.compared`, sorted, with ``trend``;
    ``pages``: the sum of all rows; ``remark``: a line on what could not be done as asked for."""

    frame: pl.DataFrame
    pages: int
    remark: str = ""


def compute(view: View, series: Series, with_trend: bool) -> Rows:
    """The rows of *view* at the moment that *series* shows.

    :raises PageownerError: one line, when the moments do not say what is asked for.
    """
    shown = series.shown
    before = series.before(shown) or shown
    now, then, last = (_of(view, moment) for moment in (shown, series.mark or shown, before))
    known = before.seconds and shown.seconds
    frame = compared(now, then, last, shown.seconds - before.seconds if known else 0.0)
    if view.typed.text:
        frame = matching(frame, view.typed.text)
    if with_trend and now.height <= MOST_TRENDS:
        moments = [_of(view, moment) for moment in series.upto(shown, TREND)]
        frame = frame.join(trend(frame.get_column("key"), moments), on="key", how="left")
    else:
        frame = frame.with_columns(trend=pl.lit(None, pl.List(pl.Int64)))
    whole = view.by in WHOLE and view.where
    remark = f"by {view.by} all pages are counted, not only those of {view.steps[-1].title}" if whole else ""
    return Rows(in_order(frame, view), int(frame.get_column("pages").sum()), remark)


def _of(view: View, moment: Moment) -> pl.DataFrame:
    return _CACHE.rows(moment, view.by, view.where, view.typed)


def in_order(frame: pl.DataFrame, view: View) -> pl.DataFrame:
    """*frame* sorted as *view* says."""
    first = _COLUMN[view.sort]
    others = [name for name in ("pages", "kind", "name", "key") if name != first]
    return frame.sort(
        first, *others, descending=[view.descending, *(name == "pages" for name in others)], nulls_last=True
    )


class _Cache:
    """Rows that were worked out lately. A moment is one object for ever: what was made of it stays right."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Moment, str, Narrow, Typed], pl.DataFrame] = OrderedDict()
        self._bytes = 0

    def rows(self, moment: Moment, by: str, where: Narrow, typed: Typed) -> pl.DataFrame:
        """The rows of one moment, of wanted pages only."""
        key = (moment, by, where, Typed(wanted=typed.wanted))
        if key not in self._known:
            tables = moment.snapshot
            if typed.wanted and moment.wanted != typed.wanted:
                tables = part_of(tables, typed.wanted)
            self._known[key] = found = rows(tables, by, where)
            self._bytes += int(found.estimated_size())
        self._known.move_to_end(key)
        while self._bytes > MOST_BYTES and len(self._known) > 1:
            self._bytes -= int(self._known.popitem(last=False)[1].estimated_size())
        return self._known[key]


_CACHE = _Cache()
