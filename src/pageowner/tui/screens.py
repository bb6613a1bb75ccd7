# SPDX-License-Identifier: LGPL-2.1-or-later
"""What opens over the table: a text to read, a line to type, a list to choose from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import ScrollableContainer, Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from pageowner.errors import PageownerError
from pageowner.tui.shown import shown

T = TypeVar("T")


class _Over(ModalScreen[T]):
    """A screen over the table, which goes once: keys may come faster than screens close."""

    _gone = False

    def close(self, result: T) -> None:
        """Back to the table with *result*."""
        if not self._gone:
            self._gone = True
            self.dismiss(result)


class TextScreen(_Over[None]):
    """A text that is longer than the screen, perhaps."""

    BINDINGS = [  # noqa: RUF012 -- textual's way
        Binding("escape,backspace,q,enter,f10", "leave", "Back", key_display="Esc"),
        Binding("down,j", "scroll(1)", "Down"),
        Binding("up,k", "scroll(-1)", "Up"),
        Binding("pagedown,space", "page(1)", "PgDn", key_display="Space"),
        Binding("pageup", "page(-1)", "PgUp"),
        Binding("right,l", "sideways(8)", "Right"),
        Binding("left", "sideways(-8)", "Left"),
        Binding("home", "end(-1)", show=False),
        Binding("end", "end(1)", show=False),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """Title, text, keys."""
        yield Static(Text(shown(self._title), "bold reverse", no_wrap=True), classes="title")
        lines = "\n".join(shown(line) for line in self._text.split("\n"))
        with ScrollableContainer(id="text"):
            yield Static(Text(lines, no_wrap=True))
        yield Footer(compact=True, show_command_palette=False)

    def action_leave(self) -> None:
        """Back to the table."""
        self.close(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one("#text").scroll_relative(y=lines, animate=False)

    def action_sideways(self, cells: int) -> None:
        """Scroll to the side."""
        self.query_one("#text").scroll_relative(x=cells, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by screens."""
        text = self.query_one("#text")
        text.scroll_relative(y=pages * max(1, text.size.height - 1), animate=False)

    def action_end(self, where: int) -> None:
        """To the beginning (-1) or the end."""
        text = self.query_one("#text")
        (text.scroll_end if where > 0 else text.scroll_home)(animate=False)


class LineScreen(_Over[str | None]):
    """Asks for one line. *check* raises ``PageownerError`` on what makes no sense: its line is shown, and the
    user goes on typing. *typing* is told of every change."""

    BINDINGS = [Binding("escape", "leave", show=False)]  # noqa: RUF012 -- textual's way

    def __init__(
        self, title: str, hint: str, value: str, check: Callable[[str], object],
        typing: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._title, self._hint, self._value = title, hint, value
        self._check, self._typing = check, typing

    def compose(self) -> ComposeResult:
        """A box at the bottom."""
        with Vertical(id="box"):
            yield Static(Text(self._title, "bold", no_wrap=True, overflow="ellipsis"), id="asked")
            yield Input(self._value, select_on_focus=False, id="line")
            yield Static(Text(self._hint), id="hint")

    def on_input_changed(self, event: Input.Changed) -> None:
        """The last complaint is out of date."""
        self.query_one("#hint", Static).update(Text(self._hint))
        if self._typing is not None:
            self._typing(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Done, if it makes sense."""
        try:
            self._check(event.value)
        except PageownerError as error:
            self.query_one("#hint", Static).update(Text(shown(str(error)), "bold red"))
            return
        self.close(event.value)

    def action_leave(self) -> None:
        """Nothing is changed."""
        self.close(None)


class ChoiceScreen(_Over[str | None]):
    """A short list, of which one is chosen by arrows, its letter or the mouse."""

    BINDINGS = [Binding("escape,backspace,q", "leave", show=False)]  # noqa: RUF012 -- textual's way

    def __init__(self, title: str, choices: Sequence[str], now: str) -> None:
        super().__init__()
        self._title, self._choices, self._now = title, tuple(choices), now

    def compose(self) -> ComposeResult:
        """A box to the left."""
        with Vertical(id="choice"):
            yield Static(Text(self._title, "bold"))
            yield OptionList(*(Option(Text(name), id=name) for name in self._choices))

    def on_mount(self) -> None:
        """Begin with what is chosen now."""
        options = self.query_one(OptionList)
        options.highlighted = self._choices.index(self._now) if self._now in self._choices else 0
        options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chosen."""
        self.close(event.option_id)

    def on_key(self, event: events.Key) -> None:
        """The first letter of a choice chooses it."""
        for name in self._choices:
            if event.character and name.startswith(event.character):
                self.close(name)
                return

    def action_leave(self) -> None:
        """Nothing is changed."""
        self.close(None)
