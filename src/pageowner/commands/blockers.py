# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why can't I have a huge page, take a block of memory offline, fill a CMA area? The few pages in the way.

Units that would be free but for pages that cannot be moved, ranked by how little is in the way: whose these
pages are, who allocated them, and the first PFN of each, for `pageowner explain`. A page is in the way when
its kind never moves (slab, page tables, a driver's pages), or when somebody holds it: pinned (for I/O, by
io_uring, a device), referenced (by a pipe, a socket, or for a moment), buffers (that a file system holds).
With filters: only units that pages of this sort are in the way of.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pageowner.commands.diff import size
from pageowner.commands.filters import add_filter_options, filter_of
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

if TYPE_CHECKING:
    from pageowner.snapshot.blocked import Unit

_PAGE = 4096


def add_arguments(parser: Parser) -> None:
    """The options of ``blockers``."""
    add_source_options(parser)
    group = parser.add_argument_group("what to print")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--unit", choices=("pageblock", "block", "cma"), default="pageblock",
        help="pageblocks, for huge pages (default); blocks of memory, to be taken offline; CMA areas",
    )  # fmt: skip
    which.add_argument(
        "--size", type=block_size, metavar="SIZE", dest="block", help="anything of this size: 1G, 4M, 64K, …"
    )
    group.add_argument("-n", type=count, default=10, metavar="ROWS", dest="rows", help="units to show (10)")
    group.add_argument("--json", action="store_true", help="one JSON object, schema pageowner.blockers/1")
    add_filter_options(parser)
    add_layer_option(parser)
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Read the source and write who stands in the way."""
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.commands.finish import finish
        from pageowner.reporters.blockers import write_blockers_json, write_blockers_text
        from pageowner.reporters.options import SummaryOptions
        from pageowner.snapshot.blocked import NEEDED, blocked
        from pageowner.snapshot.reading import read_everything

        wanted = filter_of(args)
        snapshot = read_everything(chosen, extra, by=NEEDED, records=bool(wanted))
        unit: Unit = args.block or args.unit
        found, remarks = blocked(snapshot, unit, wanted)
        if args.json:
            write_blockers_json(found, unit, args.rows, out)
        else:
            options = SummaryOptions(args.rows, use_color(args.color, out))
            write_blockers_text(found, unit, options, out)
        return finish([*snapshot.remarks, *remarks], snapshot.partial)


def block_size(text: str) -> int:
    """A power of two of 8 KiB or more, as pages."""
    pages, rest = divmod(size(text), _PAGE)
    if rest or pages < 2 or pages & (pages - 1):
        raise argparse.ArgumentTypeError(f"'{text}' is no size of a block; write 2M, 128M or 1G")
    return pages
