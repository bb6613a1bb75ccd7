# SPDX-License-Identifier: LGPL-2.1-or-later
"""Say what this machine or dump offers and lacks, what that costs, and the command that fixes it."""

from __future__ import annotations

from pageowner.commands.options import add_output_options, add_source_options, selection
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser


def add_arguments(parser: Parser) -> None:
    """The options of ``doctor``."""
    add_source_options(parser)
    group = parser.add_argument_group("what to print")
    group.add_argument("--json", action="store_true", help="one JSON object, schema pageowner.doctor/1")
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Look at everything; 1 if the source cannot be read, else 0."""
    chosen = selection(args)
    with open_output(args.output, args.force) as out:
        from pageowner.reporters.doctor_json import write_doctor_json
        from pageowner.reporters.doctor_text import write_doctor_text
        from pageowner.sources.examine import examine

        findings = examine(chosen)
        (write_doctor_json if args.json else write_doctor_text)(findings, out)
        return int(any(finding.state == "fails" for finding in findings))
