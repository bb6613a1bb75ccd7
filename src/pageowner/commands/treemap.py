# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory as a treemap: kinds, in them owners, in these the stacks that allocated the pages; an HTML file."""

from __future__ import annotations

from pageowner.commands.parser import Arguments, Parser
from pageowner.commands.pictures import add_picture_options, write_pictures


def add_arguments(parser: Parser) -> None:
    """The options of ``treemap``."""
    add_picture_options(parser, since=False)


def run(args: Arguments) -> int:
    """Read the source and write the page."""
    return write_pictures(args, ("treemap",))
