# SPDX-License-Identifier: LGPL-2.1-or-later
"""Scan once and save the tables: a snapshot, which the other commands read like the source itself."""

from __future__ import annotations

import sys
from pathlib import Path

from pageowner.commands.filters import add_filter_options, filter_of
from pageowner.commands.options import add_layer_option, add_source_options, extra_layers, selection
from pageowner.commands.parser import Arguments, Parser
from pageowner.commands.redacting import add_redact_options, redact_key, redacted


def add_arguments(parser: Parser) -> None:
    """The options of ``record``."""
    add_source_options(parser)
    add_filter_options(parser)
    add_layer_option(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True, help="where to save it"
    )
    group.add_argument("-f", "--force", action="store_true", help="overwrite an older snapshot")
    group.add_argument(
        "--no-records", action="store_true",
        help="leave out the single records (some 5 to 10 bytes each): no report of it then, fewer filters",
    )  # fmt: skip
    add_redact_options(parser)


def run(args: Arguments) -> int:
    """Scan the source and write the snapshot; say what can be done with it."""
    chosen, extra = selection(args), extra_layers(args)
    from pageowner.commands.finish import finish
    from pageowner.reporters.sizes import human_size
    from pageowner.snapshot.reading import read_everything
    from pageowner.snapshot.store import check_target, save_snapshot

    check_target(args.output, args.force)
    key = redact_key(args)
    wanted, records = filter_of(args), not args.no_records
    snapshot = redacted(read_everything(chosen, extra, wanted=wanted, records=records), key)
    size = save_snapshot(snapshot, args.output, args.force)
    print(f"Wrote {args.output} ({human_size(size)}). Next:", file=sys.stderr)
    print(f"  pageowner summary {args.output}", file=sys.stderr)
    print(f"  pageowner diff {args.output} LATER", file=sys.stderr)
    return finish(snapshot.remarks, snapshot.partial)
