# SPDX-License-Identifier: LGPL-2.1-or-later
"""Say what each layer claims and needs, whether it works on this source, and if not, why."""

from __future__ import annotations

from pageowner.commands.options import (
    add_layer_option,
    add_output_options,
    add_source_options,
    extra_layers,
    selection,
)
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser


def add_arguments(parser: Parser) -> None:
    """The options of ``layers``."""
    add_source_options(parser)
    group = parser.add_argument_group("what to print")
    group.add_argument("--json", action="store_true", help="one JSON object, schema pageowner.layers/1")
    add_layer_option(parser)
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Open the source, let every layer work on all of it, and write what became of each."""
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.commands.finish import finish
        from pageowner.reporters.layers_json import write_layers_json
        from pageowner.reporters.layers_text import write_layers_text
        from pageowner.snapshot.layer_table import layers_at_work
        from pageowner.snapshot.scan import open_scan
        from pageowner.snapshot.tables import remarks
        from pageowner.sources import open_source

        scan = open_scan(open_source(chosen), extra)
        layers = layers_at_work(scan)
        (write_layers_json if args.json else write_layers_text)(layers, out)
        return finish(remarks(scan), scan.partial)
