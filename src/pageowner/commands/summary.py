# SPDX-License-Identifier: LGPL-2.1-or-later
"""Say where all of memory is: pages and bytes by kind, and the biggest owners."""

from __future__ import annotations

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


def add_arguments(parser: Parser) -> None:
    """The options of ``summary``."""
    add_source_options(parser)
    group = parser.add_argument_group("what to print")
    group.add_argument("--json", action="store_true", help="one JSON object, schema pageowner.summary/1")
    group.add_argument("-n", type=count, default=10, metavar="ROWS", dest="rows", help="owners to show (10)")
    group.add_argument(
        "--by", choices=("process", "cgroup", "node", "module", "mount", "age", "stack"),
        help="process (RSS, PSS, USS), cgroup (and what pins dying ones), …; age: what survived longest",
    )  # fmt: skip
    add_filter_options(parser)
    add_layer_option(parser)
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Open the source, scan it and write the summary."""
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.commands.finish import finish
        from pageowner.reporters.options import SummaryOptions
        from pageowner.reporters.summary_json import write_grouping_json, write_summary_json
        from pageowner.reporters.summary_text import write_grouping_text, write_summary_text
        from pageowner.snapshot.fields import TABLES
        from pageowner.snapshot.reading import read_snapshot

        wanted = filter_of(args)
        by = {args.by} if f"by-{args.by}" in TABLES else set()
        snapshot = read_snapshot(chosen, extra, by=by, wanted=wanted)
        part = bool(wanted) or "only" in snapshot.about
        options = SummaryOptions(rows=args.rows, color=use_color(args.color, out), part=part)
        if args.by:
            (write_grouping_json if args.json else write_grouping_text)(snapshot, args.by, options, out)
        else:
            (write_summary_json if args.json else write_summary_text)(snapshot, options, out)
        return finish(snapshot.remarks, snapshot.partial)
