# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every key of ``pageowner top``, said once: what it does, and how help and footer call it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """``keys`` as textual names them, comma-separated; ``shows``: as people write them; ``label``: in the
    footer ("": not there)."""

    keys: str
    action: str
    shows: str
    help: str
    label: str = ""

    @property
    def short(self) -> str:
        """What the footer calls the key: there is little room."""
        return {"Space": "Spc"}.get(self.shows, self.shows.split(" ")[0])


KEYS = (
    Key("question_mark,f1,h", "help", "? h F1", "this list", "Help"),
    Key("slash,backslash,f3,f4", "filter", "/ F3 F4", "filter: a word, or options as of summary", "Filter"),
    Key("s,f6", "sort", "s F6", "choose what to sort by; again: the other way round", "Sort"),
    Key("g,f5", "group", "g F5", "group by kind, owner, process, stack, cgroup, node, …", "Group"),
    Key("enter", "enter", "Enter", "go in: kind, its owners, their stacks, their pages, one page", "In"),
    Key("escape,backspace", "leave", "Esc Backspace", "back out; first a filter goes", "Back"),
    Key("m", "mark", "m", "mark this moment: CHANGE is since then", "Mark"),
    Key("M", "unmark", "M", "compare with the first moment again"),
    Key("d", "difference", "d", "what grew and shrank since the mark, as pageowner diff says it", "Diff"),
    Key("left_square_bracket,left", "step(-1)", "[ Left", "the moment (or snapshot) before"),
    Key("right_square_bracket,right", "step(1)", "] Right", "the one after; behind the last it goes on live"),
    Key("space", "pause", "Space", "pause: no scan until Space is pressed again", "Pause"),
    Key("r,ctrl+l", "rescan", "r Ctrl-L", "scan now"),
    Key("plus,equals_sign", "slower", "+", "longer interval"),
    Key("minus", "faster", "-", "shorter interval"),
    Key("e", "explain", "e", "everything about one page: asks which"),
    Key("u", "units", "u", "sizes for people, in KiB, in pages"),
    Key("less_than_sign,comma", "sort_beside(-1)", "<", "sort by the column to the left"),
    Key("greater_than_sign,full_stop", "sort_beside(1)", ">", "sort by the column to the right"),
    Key("I", "reverse", "I", "turn the order round"),
    Key("q,f10,ctrl+c", "quit", "q F10", "quit", "Quit"),
)

MOUSE = "Mouse: click a row, double-click to go in, click a title to sort, click a key below to press it."


def help_text() -> str:
    """All keys, a line each."""
    width = max(len(key.shows) for key in KEYS)
    lines = [f"  {key.shows:<{width}}  {key.help}" for key in KEYS]
    return "\n".join([*lines, "", f"  {'Up Down k j':<{width}}  move; PgUp PgDn Home End, too", "", MOUSE])
