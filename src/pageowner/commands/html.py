# SPDX-License-Identifier: LGPL-2.1-or-later
"""All pictures in one HTML file: balance sheet, flame graph, treemap, map of physical memory.

The file needs nothing but a browser: no network, no server. Pick something in one picture, and it stands out
in the others, with the command that gives the same rows.
"""

from __future__ import annotations

from pageowner.commands.parser import Arguments, Parser
from pageowner.commands.pictures import add_picture_options, write_pictures

VIEWS = ("balance", "flame", "treemap", "map")


def add_arguments(parser: Parser) -> None:
    """The options of ``html``."""
    add_picture_options(parser, since=True)


def run(args: Arguments) -> int:
    """Read the source and write the page."""
    return write_pictures(args, VIEWS)
