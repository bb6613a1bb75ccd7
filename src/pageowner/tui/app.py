# SPDX-License-Identifier: LGPL-2.1-or-later
"""``pageowner top``: what each key does. The keys themselves are listed in :mod:`pageowner.tui.keys`."""

from __future__ import annotations

import io
from dataclasses import replace

from textual.binding import Binding

from pageowner.analyses.diff import diff
from pageowner.analyses.watch import GROUPS
from pageowner.commands.parser import UsageError
from pageowner.reporters.diff_text import write_diff_text
from pageowner.reporters.explain_text import write_explain_text
from pageowner.reporters.options import SummaryOptions
from pageowner.snapshot.page_name import FORMS, PageName, parse_page
from pageowner.tui import lines
from pageowner.tui.board import Board
from pageowner.tui.columns import UNITS, Row
from pageowner.tui.filterline import HINT, Typed, parse
from pageowner.tui.keys import KEYS, help_text
from pageowner.tui.pages import page_name
from pageowner.tui.protocol import Answer, Explain, FindPages
from pageowner.tui.screens import ChoiceScreen, LineScreen, TextScreen
from pageowner.tui.series import Moment
from pageowner.tui.table import OwnerTable
from pageowner.tui.view import SORTS

_DIFF_ROWS = 40


class TopApp(Board):
    """The program."""

    BINDINGS = [  # noqa: RUF012 -- textual's way
        Binding(key.keys, key.action, key.label, show=bool(key.label), key_display=key.short) for key in KEYS
    ]

    @property
    def table(self) -> OwnerTable:
        """The table of owners."""
        return self.screen_stack[0].query_one(OwnerTable)

    # -- in and out ----------------------------------------------------------------------------

    def on_owner_table_entered(self) -> None:
        """Entered with the mouse."""
        self.action_enter()

    def on_owner_table_moved(self) -> None:
        """Another row: another detail line."""
        self.draw_lines()

    def on_owner_table_sort_by(self, event: OwnerTable.SortBy) -> None:
        """A click on a title."""
        self._sort_by(event.sort)

    def action_enter(self) -> None:
        """Into the row under the cursor."""
        row, session = self.table.row, self.session
        if row is None:
            return
        if session.pages is not None:
            self._explain(page_name(row["key"]))
            return
        inside = session.view.entered(row["key"], row["name"])
        if session.view.by == "cgroup":
            session.enter_cgroup(row["name"])
        elif inside is not None:
            session.view = inside
        else:
            self._enter_pages(row)
            return
        self.inside.append(row["key"])
        self.table.top()
        self.refresh_rows()

    def _enter_pages(self, row: Row) -> None:
        question = self.session.find_pages(row["key"])
        if question is not None:
            self._find_pages(question, row)
        else:
            self.say(f"by {self.session.view.by} there is no way further in")

    def _find_pages(self, question: FindPages, row: Row) -> None:
        def found(answer: Answer) -> None:
            if answer.error is not None:
                self.say(answer.error)
                return
            self.inside.append(row["key"])
            self.session.pages, self.session.pages_of = answer.value, row["name"]
            self.table.top()
            self.refresh_rows()

        self.ask(question, found)

    def action_leave(self) -> None:
        """Out again: first of a filter, then of the pages, then of each level."""
        session = self.session
        steps = session.view.steps
        if session.view.typed.line and not any(step.by == "cgroup" for step in steps):
            session.set_typed(Typed())
        elif session.pages is not None:
            session.pages = None
            self.place_at = self.inside.pop() if self.inside else None
        elif session.leave():
            self.place_at = self.inside.pop() if self.inside else None
        self.refresh_rows()

    # -- what is shown, and how ------------------------------------------------------------------

    def action_filter(self) -> None:
        """Ask for a filter; a word is looked for while it is typed."""
        session = self.session
        before = session.view.typed

        def typing(line: str) -> None:
            if not line.lstrip().startswith("-") and before.wanted is None:
                session.set_typed(parse(line))
                self.refresh_rows()

        def done(line: str | None) -> None:
            session.set_typed(before if line is None else parse(line))
            self.table.top()
            self.refresh_rows()

        self.push_screen(LineScreen("filter (empty: none)", HINT, before.line, parse, typing), done)

    def action_sort(self) -> None:
        """Ask what to sort by."""
        self.push_screen(ChoiceScreen("sort by", SORTS, self.session.view.sort), self._sort_by)

    def action_sort_beside(self, by: int) -> None:
        """Sort by the column to the left or right."""
        at = SORTS.index(self.session.view.sort) + by
        if 0 <= at < len(SORTS):
            self._sort_by(SORTS[at])

    def _sort_by(self, sort: str | None) -> None:
        view = self.session.view
        if sort is not None:
            turned = not view.descending if sort == view.sort else sort in ("size", "change", "rate")
            self.session.view = replace(view, sort=sort, descending=turned)
            self.refresh_rows()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._sort_by(self.session.view.sort)

    def action_group(self) -> None:
        """Ask what to group by."""

        def done(by: str | None) -> None:
            if by is not None:
                self.session.set_group(by)
                self.table.top()
                self.refresh_rows()

        self.push_screen(ChoiceScreen("group by", tuple(GROUPS), self.session.view.by), done)

    def action_units(self) -> None:
        """The next unit."""
        self.unit = UNITS[(UNITS.index(self.unit) + 1) % len(UNITS)]
        self.refresh_rows()

    # -- time ------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Compare with this moment from now on."""
        series = self.session.series
        if series.moments:
            series.set_mark(series.shown)
            self.refresh_rows()

    def action_unmark(self) -> None:
        """Compare with the first moment again."""
        if self.session.series.moments:
            self.session.series.set_mark()
            self.refresh_rows()

    def action_step(self, by: int) -> None:
        """The moment before or after."""
        if self.session.series.moments and self.session.series.step(by):
            self.refresh_rows()

    def action_pause(self) -> None:
        """No scans until Space is pressed again."""
        self.session.paused = not self.session.paused
        self.draw_lines()

    def action_rescan(self) -> None:
        """Scan now."""
        if not self.session.live:
            self.say("this source does not change: there is nothing to scan again")
        elif not self.asking:
            self.session.series.at = len(self.session.series.moments) - 1
            self.scan()

    def action_slower(self) -> None:
        """A longer interval."""
        self.session.pace.slower()
        self.draw_lines()

    def action_faster(self) -> None:
        """A shorter interval."""
        self.session.pace.faster()
        self.draw_lines()

    # -- texts -----------------------------------------------------------------------------------

    def action_help(self) -> None:
        """All keys."""
        self.push_screen(TextScreen("pageowner top: keys", help_text()))

    def action_difference(self) -> None:
        """What grew and shrank between the mark and what is shown, as ``pageowner diff`` tells it."""
        series = self.session.series
        mark, shown = series.mark, series.shown if series.moments else None
        if mark is None or shown is None or mark is shown:
            self.say("nothing to compare yet: this is the moment that the others are compared with")
            return
        earlier, later = sorted((mark, shown), key=lambda moment: moment.number)
        self.in_thread(lambda: _difference(earlier, later), self.push_screen)

    def action_explain(self) -> None:
        """Ask for a page, and tell everything about it."""

        def check(text: str) -> PageName:
            try:
                return parse_page(text.strip())
            except ValueError as error:
                raise UsageError(str(error)) from error

        def done(text: str | None) -> None:
            if text is not None:
                self._explain(check(text))

        self.push_screen(LineScreen("explain which page?", FORMS, "", check), done)

    def _explain(self, name: PageName) -> None:
        def explained(answer: Answer) -> None:
            if answer.error is not None:
                self.say(answer.error)
                return
            out = io.BytesIO()
            write_explain_text(answer.value, out)
            title = f"pageowner explain 0x{answer.value.pfn:x}"
            self.push_screen(TextScreen(title, out.getvalue().decode("utf-8", "surrogateescape")))

        series = self.session.series
        source = series.shown.source if series.moments else len(self.session.selections) - 1
        self.ask(Explain(source, name), explained)


def _difference(earlier: Moment, later: Moment) -> TextScreen:
    out = io.BytesIO()
    write_diff_text(diff([earlier.snapshot, later.snapshot]), SummaryOptions(_DIFF_ROWS), out)
    text = out.getvalue().decode("utf-8", "surrogateescape") or "nothing has changed"
    return TextScreen(f"from {lines.clock(earlier)} to {lines.clock(later)}", text)
