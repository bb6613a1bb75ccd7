# SPDX-License-Identifier: LGPL-2.1-or-later
"""What grew and shrank between two sources or more, by owner and by call stack.

A source is a snapshot of `pageowner record` or a core; the newest may be any source (the live kernel if only
OLD is given). Rows join across reboots and kernels: processes by name, stacks by functions. Free memory is no
owner. Of more than two sources, owners that grew at every step come first.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from pathlib import Path

from pageowner.commands.filters import add_filter_options, filter_of
from pageowner.commands.options import (
    add_output_options,
    add_source_options,
    count,
    selection,
    use_color,
)
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser, UsageError
from pageowner.sources.selection import SourceSelection

EXCEEDED = 3
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def add_arguments(parser: Parser) -> None:
    """The options of ``diff``."""
    parser.add_argument("old", type=Path, metavar="OLD", help="the older one")
    parser.add_argument("between", type=Path, nargs="*", metavar="NEWER", help="any number of newer ones")
    add_source_options(parser, positional=False)
    group = parser.add_argument_group("what to print")
    group.add_argument("-n", type=count, default=10, metavar="ROWS", dest="rows", help="rows a table (10)")
    group.add_argument("--json", action="store_true", help="one JSON object, schema pageowner.diff/1")
    group.add_argument(
        "--fail-if-growth", type=size, metavar="SIZE",
        help="exit with 3 if any owner or stack grew by SIZE (1M, 512K, 4096) or more",
    )  # fmt: skip
    add_filter_options(parser)
    add_output_options(parser)


def run(args: Arguments) -> int:
    """Read all sources, compare them and write what differs."""
    chosen = _selections(args)
    with open_output(args.output, args.force) as out:
        from pageowner.analyses.diff import diff
        from pageowner.analyses.kinds import PAGE_BYTES
        from pageowner.commands.finish import finish
        from pageowner.reporters.diff_json import write_diff_json
        from pageowner.reporters.diff_text import write_diff_text
        from pageowner.reporters.options import SummaryOptions
        from pageowner.snapshot.reading import read_snapshot

        wanted = filter_of(args)
        snapshots = [read_snapshot(one, wanted=wanted) for one in chosen]
        found = diff(snapshots)
        if args.json:
            write_diff_json(found, [_name(one) for one in chosen], args.rows, out)
        else:
            write_diff_text(found, SummaryOptions(args.rows, use_color(args.color, out)), out)
        remarks = [
            line if line.startswith(_name(one)) else f"{_name(one)}: {line}"
            for one, snapshot in zip(chosen, snapshots, strict=True)
            for line in snapshot.remarks
        ]
        status = finish(dict.fromkeys(remarks), any(snapshot.partial for snapshot in snapshots))
        limit = args.fail_if_growth
        exceeded = limit is not None and found.most_growth * PAGE_BYTES >= max(limit, 1)
        return EXCEEDED if exceeded else status


def size(text: str) -> int:
    """Bytes: ``4096``, ``512K``, ``1.5M``, ``2GiB``; units of 1024."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?)(?:i?B)?", text, re.IGNORECASE | re.ASCII)
    if found is None:
        raise ArgumentTypeError(f"'{text}' is no size; write 4096, 512K or 1.5M")
    return int(float(found[1]) * 1024 ** _UNITS[found[2].upper()])


def _selections(args: Arguments) -> list[SourceSelection]:
    """Oldest first. Raises ``UsageError`` when sources are named in two ways."""
    paths = [args.old, *args.between]
    chosen = [SourceSelection("path", path=path, symbols=args.symbols) for path in paths]
    named = args.kernel or args.core or args.qemu or args.demo
    if len(chosen) == 1 or named:
        chosen.append(selection(args))
    if sum(str(one.path) == "-" for one in chosen) > 1:
        raise UsageError("standard input can be read only once: name files")
    return chosen


def _name(one: SourceSelection) -> str:
    return str(one.path or one.address or one.kind)
