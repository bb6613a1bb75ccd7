# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is typed behind ``/``: the filter options of all commands, or just a word to look for."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pageowner.analyses.filters import Filter
from pageowner.commands.filters import OPTIONS, add_filter_options, filter_of
from pageowner.commands.parser import Arguments, Parser, UsageError

HINT = "a word to look for, or --kind slab --owner 'dentry*' … as on the command line"


@dataclass(frozen=True)
class Typed:
    """``wanted`` pages (None: all), or rows that contain ``text``; ``line``: as it was typed."""

    wanted: Filter | None = None
    text: str = ""
    line: str = ""


def parse(line: str) -> Typed:
    """What *line* asks for: filter options if it begins with ``-``, else a text to be found in the rows.

    :raises UsageError: one line that says what is wrong.
    """
    line = line.strip()
    if not line.startswith("-"):
        return Typed(text=line, line=line)
    parser = Parser(prog="/", add_help=False)
    add_filter_options(parser)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"a quotation mark is left open ({error})") from error
    try:
        wanted = filter_of(parser.parse_args(words, Arguments()))
    except UsageError as error:
        raise UsageError(str(error).removesuffix(" (see '/ --help')")) from error
    return Typed(wanted=wanted or None, line=line)


def line_of(wanted: Filter) -> str:
    """The options that :func:`parse` reads as *wanted*."""
    words = []
    for option in OPTIONS:
        given = getattr(wanted, option.member)
        for value in given if isinstance(given, tuple) else [given]:
            if value is not None:
                text = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
                words.append(f"{option.flag}={shlex.quote(text)}")
    return " ".join(words)
