# SPDX-License-Identifier: LGPL-2.1-or-later
"""Watch who owns memory: a live table on the terminal, of a kernel, a guest, a core or a series of snapshots.

The running kernel and QEMU guests are scanned again and again, slower when that costs much. Snapshots (and
cores) are stepped through in time with [ and ]; the oldest is given first. `?` on the screen lists the keys.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

from pageowner.commands.filters import add_filter_options, filter_of
from pageowner.commands.options import add_layer_option, add_source_options, selection
from pageowner.commands.parser import Arguments, Parser, UsageError
from pageowner.errors import PageownerError
from pageowner.sources.selection import SourceSelection


def add_arguments(parser: Parser) -> None:
    """The options of ``top``."""
    parser.add_argument("sources", nargs="*", type=Path, metavar="source", help="a core, or snapshots")
    add_source_options(parser, positional=False)
    group = parser.add_argument_group("what to show")
    group.add_argument(
        "-i", "--interval", type=_seconds, default=5.0, metavar="SECONDS",
        help="between scans (5); never less than ten times what a scan takes",
    )  # fmt: skip
    group.add_argument(
        "--by", choices=("kind", "owner", "process", "stack", "cgroup", "node", "module", "mount"),
        default="kind", help="group by this first (kind)",
    )  # fmt: skip
    group.add_argument("--color", choices=("auto", "never"), default="auto", help="default: auto")
    add_filter_options(parser)
    add_layer_option(parser)


def run(args: Arguments) -> int:
    """Open the source in a child process, then the screen."""
    selections = _selections(args)
    _check_terminal()
    if importlib.util.find_spec("textual") is None:
        raise PageownerError("'pageowner top' needs textual: pip install 'pageowner[tui]'")
    if args.color == "never":
        os.environ["NO_COLOR"] = "1"
    from pageowner.tui.app import TopApp
    from pageowner.tui.client import Client
    from pageowner.tui.filterline import Typed, line_of
    from pageowner.tui.pace import Pace
    from pageowner.tui.protocol import Setup
    from pageowner.tui.session import Session
    from pageowner.tui.view import View

    client = Client(Setup(selections, tuple(args.layer)))
    try:
        opened = client.start()
        wanted = filter_of(args)
        session = Session(client, selections, opened.live, Pace(args.interval), View(args.by))
        if wanted:
            session.set_typed(Typed(wanted=wanted, line=line_of(wanted)))
        app = TopApp(session)
        app.run()
        return app.return_code or 0
    finally:
        client.close()


def _selections(args: Arguments) -> tuple[SourceSelection, ...]:
    """Oldest first."""
    base = selection(args)
    paths = [replace(base, kind="path", path=path, address=None) for path in args.sources]
    named = args.kernel or args.core or args.qemu or args.demo
    if len(paths) == 1 and named:
        raise UsageError("a positional source and an option name different sources; give one of them")
    if any(str(path) == "-" for path in args.sources):
        raise UsageError("standard input is the keyboard here: give a file")
    return (*paths, base) if named or not paths else tuple(paths)


def _check_terminal() -> None:
    """Keys come from standard input; the screen goes to standard error, as textual has it."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if stream is None or not stream.isatty():
            raise PageownerError(
                "'pageowner top' needs a terminal as standard input, output and error: "
                "'pageowner summary' prints, 'pageowner record' keeps"
            )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.1 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"'{text}' is no interval: give 0.1 to 86400 seconds")
    return value
