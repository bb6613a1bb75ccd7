# SPDX-License-Identifier: LGPL-2.1-or-later
"""Physical memory as it lies: on the terminal, or with -o FILE.html as a picture to zoom into.

On the terminal a character shows two cells, one over the other (without colour: one, as a letter), and below
are the zones and what they have of each mobility type. --pfn A-B looks closer.
"""

from __future__ import annotations

import shutil

from pageowner.commands.filters import filter_of
from pageowner.commands.options import extra_layers, selection, use_color
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser
from pageowner.commands.pictures import add_picture_options, write_pictures

BY = ("kind", "mobility", "age", "process")


def add_arguments(parser: Parser) -> None:
    """The options of ``map``."""
    add_picture_options(parser, since=False)
    group = parser.add_argument_group("what to draw")
    group.add_argument(
        "--by", choices=BY, default="kind",
        help="colour by kind (default), mobility of the block, age, or process that allocated",
    )  # fmt: skip


def run(args: Arguments) -> int:
    """Read the source and draw the map."""
    if args.output is not None and args.output.suffix in (".html", ".htm"):
        return write_pictures(args, ("map",), args.by)
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.commands.finish import finish
        from pageowner.errors import SourceError
        from pageowner.reporters.map_text import MapOptions, write_map_text
        from pageowner.snapshot.reading import read_everything

        snapshot = read_everything(chosen, extra, by=["place"], wanted=filter_of(args))
        if not snapshot.pages.height:
            raise SourceError("this source does not say where its pages are: record it anew, or give a core")
        ends = [end for pfns in args.pfn for end in pfns]
        pfns = (min(ends), max(ends)) if ends else None
        width = min(max(shutil.get_terminal_size((80, 24)).columns, 40), 400)
        options = MapOptions(args.by, width, use_color(args.color, out), pfns)
        write_map_text(snapshot, options, out)
        return finish(snapshot.remarks, snapshot.partial)
