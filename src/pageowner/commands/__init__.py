# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line: one thin module per subcommand, and the list of them.

A command module has ``add_arguments(parser)`` and ``run(args) -> int``, and its docstring is
its help. Only the module that is asked for is imported, and no command module imports numpy,
polars, drgn or rich before ``run``: that keeps ``pageowner --help`` quick.
"""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

from pageowner.commands import policy, watching
from pageowner.commands.parser import Arguments, Parser, UsageError

#: Every command and its one-line help, in the order of ``pageowner --help``.
COMMANDS: dict[str, str] = {
    "report": "every page_owner record, with the line that says what the page is",
    "summary": "where all of memory is: pages and bytes by kind, and the biggest owners",
    "explain": "everything about one page",
    "check": "what contradicts itself in memory: silent on a healthy kernel",
    "record": "scan and save a snapshot, which other commands read like the source itself",
    "diff": "what grew and shrank between two sources or more, by owner and by call stack",
    "sort": "page_owner_sort: group the records of a page_owner text, and put the groups in order",
    "sql": "SQL over the tables: owners, usage, stacks, pages, and so on",
    "export": "csv, jsonl, parquet, folded stacks, speedscope, pprof",
    "html": "all pictures in one HTML file: balance sheet, flame graph, treemap, map of physical memory",
    "flamegraph": "which call stacks allocated what is in use, or what grew, as an HTML file",
    "treemap": "kinds, their owners, their stacks: an HTML file",
    "map": "physical memory as it lies, on the terminal or as an HTML file",
    "blockers": "which few pages stand in the way of a huge page or of taking memory offline",
    "top": "a live table of owners on the terminal: what grows, how fast, since when",
    "layers": "what each layer claims and needs, and whether it works on this source",
    "doctor": "what is missing to read this host or dump, and the command that fixes it",
}

#: Commands that make something of the part that had been read when the user said Ctrl-C.
KEEP = ("report", "summary")


class Command(Protocol):
    """What a module of this package offers."""

    __doc__: str | None

    def add_arguments(self, parser: Parser) -> None:
        """Add the command's options to its parser."""

    def run(self, args: Arguments) -> int:
        """Do it; the exit status comes back."""


def entry() -> None:
    """The console script."""
    ended: list[int] = []
    atexit.register(_leave, ended)  # the first to be registered is the last to be called
    ended.append(main(sys.argv[1:]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: nothing is left to interrupt
    sys.exit(ended[0])


def _leave(ended: list[int]) -> None:
    """After a Ctrl-C during an exec(), such as dataclasses do, Python 3.11 would end by the signal itself."""
    if ended == [policy.INTERRUPTED]:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(policy.INTERRUPTED)


def main(argv: Sequence[str]) -> int:
    """Run one command line (without the program's name); the exit status comes back.

    0 ok, 1 failed, 2 usage, 3 threshold exceeded, 4 partial result, 130 interrupted.
    """
    return policy.guard(lambda: _dispatch(list(argv)))


def load(name: str) -> Command:
    """The module of one command."""
    return cast(Command, importlib.import_module(f"{__name__}.{name}"))


def command_parser(name: str) -> Parser:
    """The argument parser of one command, as ``pageowner NAME --help`` shows it."""
    module = load(name)
    parser = Parser(prog=f"pageowner {name}", description=module.__doc__)
    module.add_arguments(parser)
    return parser


def top_parser() -> Parser:
    """The parser of what stands before the command."""
    listing = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    parser = Parser(
        prog="pageowner",
        usage="pageowner [--help] [--version] COMMAND [source] [options]",
        description="Says who owns every page of a Linux machine's physical memory.",
        epilog=f"commands:\n{listing}\n\n'pageowner COMMAND --help' tells more.",
    )
    parser.add_argument("--version", action="store_true", help="versions of pageowner and what it stands on")
    return parser


def _dispatch(argv: list[str]) -> int:
    if argv and not argv[0].startswith("-"):
        return _run(argv[0], argv[1:])
    args = top_parser().parse_args(argv)
    if not args.version:
        raise UsageError("no command given; 'pageowner --help' lists them")
    from pageowner.commands.version import version_text

    print(version_text())
    return 0


def _run(name: str, argv: list[str]) -> int:
    if name not in COMMANDS:
        raise UsageError(_unknown(name))
    args = command_parser(name).parse_args(argv, Arguments())
    with watching.watching(keeps=name in KEEP) as watch:
        status = load(name).run(args)
    return policy.INTERRUPTED if watch.interrupted else status


def _unknown(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    if near:
        return f"there is no command '{name}'; did you mean 'pageowner {near[0]}'?"
    if Path(name).exists():
        return f"'{name}' is a file, not a command; did you mean 'pageowner summary {name}'?"
    return f"there is no command '{name}'; 'pageowner --help' lists them"
