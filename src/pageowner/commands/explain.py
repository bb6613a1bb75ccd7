# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tell everything about one page, without a scan of all memory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import BinaryIO

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
from pageowner.snapshot.page_name import FORMS, PageName, parse_page


def add_arguments(parser: Parser) -> None:
    """The options of ``explain``."""
    parser.add_argument("page", type=_page, metavar="PAGE", help=FORMS)
    add_source_options(parser)
    group = parser.add_argument_group("what to print")
    group.add_argument("--json", action="store_true", help="one JSON object, schema pageowner.explain/1")
    group.add_argument("-n", type=count, default=32, metavar="ROWS", dest="rows", help="mappings shown (32)")
    add_layer_option(parser)
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Open the source, find the page and write what is known about it."""
    chosen, extra = selection(args), extra_layers(args)
    with open_output(args.output, args.force) as out:
        from pageowner.commands.finish import finish
        from pageowner.reporters.explain_json import write_explain_json
        from pageowner.reporters.explain_text import write_explain_text
        from pageowner.snapshot.explain import explain
        from pageowner.snapshot.page_address import find_page
        from pageowner.snapshot.scan import open_scan
        from pageowner.snapshot.store import is_snapshot
        from pageowner.snapshot.tables import remarks
        from pageowner.sources import open_source

        if chosen.kind == "path" and chosen.path is not None and is_snapshot(chosen.path):
            return _of_snapshot(chosen.path, args, out)
        scan = open_scan(open_source(chosen), extra)
        found = explain(scan, find_page(scan.kernel, scan.sections, args.page), args.rows)
        (write_explain_json if args.json else write_explain_text)(found, out)
        return finish(remarks(scan), scan.partial)


def _of_snapshot(path: Path, args: Arguments, out: BinaryIO) -> int:
    """What was stored of the page."""
    from pageowner.commands.finish import finish
    from pageowner.reporters.recalled import write_recalled_json, write_recalled_text
    from pageowner.snapshot.recall import recall
    from pageowner.snapshot.store import load_snapshot

    snapshot = load_snapshot(path)
    found = recall(snapshot, args.page, path)
    (write_recalled_json if args.json else write_recalled_text)(found, out)
    return finish(snapshot.remarks, snapshot.partial)


def _page(text: str) -> PageName:
    try:
        return parse_page(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
