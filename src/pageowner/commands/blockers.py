# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why can't I have a huge page? Blocks that would be free but for a few pages that cannot move.

Ranked by how little is in the way, with the owners of those pages and the first PFN of each, for
`pageowner explain`. Whether a movable page is pinned is not seen here.
"""

from __future__ import annotations

import argparse

from pageowner.commands.diff import size
from pageowner.commands.options import (
    add_layer_option,
    add_output_options,
    add_source_options,
    count,
    extra_layers,
    selection,
    use_color,
)
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser

_PAGE = 4096


def add_arguments(parser: Parser) -> None:
    """The options of ``blockers``."""
    add_source_options(parser)
    group = parser.add_argument_group("what to print")
    group.add_argument(
        "--size", type=block_size, metavar="SIZE", default=512, dest="block",
        help="of a block: 2M (default) for huge pages, 128M for a memory block to be taken offline, 1G, …",
    )  # fmt: skip
    group.add_argument("-n", type=count, default=10, metavar="ROWS", dest="rows", help="blocks to show (10)")
    group.add_argument("--json", action="store_true", help="one JSON object, schema pageowner.blockers/1")
    add_layer_option(parser)
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Read the source and write who stands in the way."""
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.analyses.blockers import blockers, whole
        from pageowner.commands.finish import finish
        from pageowner.errors import SourceError
        from pageowner.reporters.blockers import write_blockers_json, write_blockers_text
        from pageowner.reporters.options import SummaryOptions
        from pageowner.snapshot.reading import read_snapshot

        snapshot = read_snapshot(chosen, extra, pages=True)
        if not snapshot.pages.height:
            raise SourceError("this source does not say where its pages are: record it anew, or give a core")
        found, free = blockers(snapshot.pages, args.block), whole(snapshot.pages, args.block)
        if args.json:
            write_blockers_json(found, free, args.block, args.rows, out)
        else:
            options = SummaryOptions(args.rows, use_color(args.color, out))
            write_blockers_text(found, free, args.block, options, out)
        return finish(snapshot.remarks, snapshot.partial)


def block_size(text: str) -> int:
    """A power of two of 8 KiB or more, as pages."""
    pages, rest = divmod(size(text), _PAGE)
    if rest or pages < 2 or pages & (pages - 1):
        raise argparse.ArgumentTypeError(f"'{text}' is no size of a block; write 2M, 128M or 1G")
    return pages
