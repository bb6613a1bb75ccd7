# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ask the tables of a snapshot (or of any source, which is scanned first) in SQL.

For example: pageowner sql "select word, sum(pages)*4096 as bytes from owners group by word order by 2 desc"
"""

from __future__ import annotations

from pageowner.commands.filters import add_filter_options, filter_of
from pageowner.commands.options import (
    add_layer_option,
    add_output_options,
    add_source_options,
    extra_layers,
    selection,
    use_color,
)
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser
from pageowner.snapshot.fields import RECORD_TABLES, help_text


def add_arguments(parser: Parser) -> None:
    """The options of ``sql``."""
    parser.add_argument("query", metavar="QUERY", help="one SELECT; the dialect is that of polars")
    add_source_options(parser)
    group = parser.add_argument_group("how to print it")
    form = group.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object, schema pageowner.sql/1")
    form.add_argument("--csv", action="store_true", help="CSV with a header line")
    add_filter_options(parser)
    add_layer_option(parser)
    add_output_options(parser)
    parser.epilog = help_text()


def run(args: Arguments) -> int:
    """Read the source, run the query and write what it selects."""
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.analyses.query import query
        from pageowner.commands.finish import finish
        from pageowner.reporters.options import SummaryOptions
        from pageowner.reporters.table import write_table_csv, write_table_json, write_table_text
        from pageowner.snapshot.reading import named_tables, read_everything

        records = any(name in args.query.lower() for name in RECORD_TABLES)  # they cost time: if asked for
        snapshot = read_everything(chosen, extra, wanted=filter_of(args), records=records)
        found = query(named_tables(snapshot), args.query)
        if args.json:
            write_table_json(found, out)
        elif args.csv:
            write_table_csv(found, out)
        else:
            write_table_text(found, SummaryOptions(color=use_color(args.color, out)), out)
        return finish(snapshot.remarks, snapshot.partial)
