# SPDX-License-Identifier: LGPL-2.1-or-later
"""A flame graph of memory in use: which call stacks allocated it, as an HTML file.

With --since it is one of growth: red where a stack has more pages than then, blue where it has fewer. For
other viewers there is `pageowner export -O folded`, speedscope and pprof.
"""

from __future__ import annotations

from pageowner.commands.parser import Arguments, Parser
from pageowner.commands.pictures import add_picture_options, write_pictures


def add_arguments(parser: Parser) -> None:
    """The options of ``flamegraph``."""
    add_picture_options(parser, since=True)


def run(args: Arguments) -> int:
    """Read the source and write the page."""
    return write_pictures(args, ("flame",))
