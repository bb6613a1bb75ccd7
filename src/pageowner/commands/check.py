# SPDX-License-Identifier: LGPL-2.1-or-later
"""Look for what contradicts itself in memory: silent, with exit status 0, on a healthy kernel.

A line per finding, counts on standard error, exit status 3 if there are any. What each check holds
against what: docs/check.md.
"""

from __future__ import annotations

from pageowner.commands.options import (
    add_layer_option,
    add_output_options,
    add_source_options,
    count,
    extra_layers,
    selection,
)
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser

FOUND = 3


def add_arguments(parser: Parser) -> None:
    """The options of ``check``."""
    add_source_options(parser)
    group = parser.add_argument_group("what to print")
    group.add_argument("-n", type=count, default=20, metavar="ROWS", dest="rows", help="lines per check (20)")
    group.add_argument("--json", action="store_true", help="one JSON object, schema pageowner.check/1")
    add_layer_option(parser)
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Open the source, check all of it and write what was found."""
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.commands.finish import finish
        from pageowner.reporters.check_json import write_check_json
        from pageowner.reporters.check_text import counts_line, write_check_text
        from pageowner.snapshot.checks.run import CheckRun
        from pageowner.snapshot.scan import open_scan
        from pageowner.snapshot.tables import remarks
        from pageowner.sources import open_source

        scan = open_scan(open_source(chosen), extra)
        checks = CheckRun(scan, args.rows)
        if args.json:
            write_check_json(list(checks.findings()), checks.counts, scan.coverage, out)
        else:
            write_check_text(checks.findings(), out)
        lines = [counts_line(checks.counts, checks.told)] if checks.counts else []
        if checks.counts and scan.kernel.live:
            lines.append("memory changed while it was read: believe what a second run finds again")
        status = finish([*remarks(scan), *lines], scan.partial)
        return FOUND if checks.counts else status
