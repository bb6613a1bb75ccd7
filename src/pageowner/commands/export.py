# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write a table, or memory in use as a profile of stacks, in a form that other programs read.

csv, jsonl and parquet hold one table (--table, see docs/tables.md). folded, speedscope and pprof hold the
allocation stacks of all memory that is not free, weighted in bytes: for flamegraph.pl and inferno, for
https://www.speedscope.app, and for `pprof` (there with owner, node, zone and order as labels).
"""

from __future__ import annotations

from pageowner.commands.filters import add_filter_options, filter_of
from pageowner.commands.options import (
    add_layer_option,
    add_output_options,
    add_source_options,
    extra_layers,
    selection,
)
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser, UsageError
from pageowner.commands.redacting import add_redact_options, redact_key, redacted
from pageowner.snapshot.fields import RECORD_TABLES, TABLES, sql_name

_OF_TABLES = ("csv", "jsonl", "parquet")
_OF_STACKS = ("folded", "speedscope", "pprof")


def add_arguments(parser: Parser) -> None:
    """The options of ``export``."""
    add_source_options(parser)
    group = parser.add_argument_group("what to write")
    group.add_argument(
        "-O", "--format", choices=(*_OF_TABLES, *_OF_STACKS), required=True, help="the form"
    )
    group.add_argument(
        "--table", choices=[sql_name(name) for name in TABLES], metavar="TABLE",
        help=f"for csv, jsonl, parquet: {', '.join(map(sql_name, TABLES))} (default: owners)",
    )  # fmt: skip
    add_filter_options(parser)
    add_redact_options(parser)
    add_layer_option(parser)
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Read the source and write it in the form that was asked for."""
    if args.table and args.format in _OF_STACKS:
        raise UsageError(f"--table goes with {', '.join(_OF_TABLES)}; {args.format} holds stacks")
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.analyses.flame import weighted_stacks
        from pageowner.commands.finish import finish
        from pageowner.errors import SourceError
        from pageowner.reporters import folded, pprof, speedscope, table
        from pageowner.snapshot.reading import named_tables, read_everything

        records = args.table in RECORD_TABLES
        key = redact_key(args)
        snapshot = redacted(read_everything(chosen, extra, wanted=filter_of(args), records=records), key)
        if args.format in _OF_TABLES:
            name, found = args.table or "owners", named_tables(snapshot)
            if name not in found:
                raise SourceError(f"this source has no table {name}; it has {', '.join(found)}")
            getattr(table, f"write_table_{args.format}")(found[name], out)
        elif args.format == "folded":
            folded.write_folded(weighted_stacks(snapshot), out)
        elif args.format == "speedscope":
            title = f"Linux {snapshot.about.get('release', '')}: memory in use by allocation stack"
            speedscope.write_speedscope(weighted_stacks(snapshot), title, out)
        else:
            pprof.write_pprof(weighted_stacks(snapshot), out)
        return finish(snapshot.remarks, snapshot.partial)
