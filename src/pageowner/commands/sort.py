# SPDX-License-Identifier: LGPL-2.1-or-later
"""Group the records of a page_owner text and put the groups in order, as the kernel's page_owner_sort does.

IN is a page_owner text, plain or compressed, or '-' for standard input; or a core dump. OUT is a file, or
'-' for standard output. Letters and keys are page_owner_sort's: symbols are given by --symbols only, and a
file is overwritten with --force only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pageowner.commands.filters import add_filter_options, filter_of
from pageowner.commands.output import open_output
from pageowner.commands.parser import Arguments, Parser, UsageError
from pageowner.errors import PageownerError
from pageowner.ownertext.sort_options import LETTERS, SortOptions, parse_cull, parse_sort

_T = TypeVar("_T")
_ORDERS = {
    "a": "time of allocation",
    "m": "total memory",
    "n": "name of the task",
    "p": "pid",
    "P": "tgid",
    "r": "time of release",
    "s": "stack trace",
    "t": "number of records (default)",
    "M": "module",
}


OURS = ("--pid", "--tgid", "--module")
"""Filters that page_owner_sort has itself, and spells its own way."""


def add_arguments(parser: Parser) -> None:
    """The options of ``sort``."""
    parser.add_argument("input", type=Path, metavar="IN", help="a page_owner text ('-': standard input)")
    parser.add_argument("output", type=Path, metavar="OUT", help="where to write ('-': standard output)")
    group = parser.add_argument_group("order (one of them)")
    for letter, what in _ORDERS.items():
        flag = f"-{letter}"
        group.add_argument(flag, action="append_const", dest="letters", const=letter, help=f"by {what}")
    group.add_argument(
        "--sort", type=_parsed(parse_sort), metavar="[+|-]KEY,…",
        help="keys: p/pid, tg/tgid, n/name, st/stacktrace, T/txt, ft/free_ts, at/alloc_ts, ator/allocator, "
        "mod/module; '-': biggest first (write --sort=-p)",
    )  # fmt: skip
    group = parser.add_argument_group("groups")
    group.add_argument(
        "--cull", type=_parsed(parse_cull), metavar="KEY,…",
        help="keys: p/pid, tg/tgid, n/name, f/free, st/stacktrace, ator/allocator, mod/module",
    )  # fmt: skip
    group = parser.add_argument_group("which records")
    group.add_argument("-f", action="store_true", dest="held_only", help="leave out released blocks")
    group.add_argument("--pid", type=_numbers, metavar="PID,…", help="of these pids")
    group.add_argument("--tgid", type=_numbers, metavar="TGID,…", help="of these tgids")
    group.add_argument("--name", type=_names, metavar="NAME,…", help="of tasks of these names")
    group.add_argument("--module", type=_names, metavar="NAME,…", help="asked for by these kernel modules")
    add_filter_options(parser, OURS)
    group = parser.add_argument_group("the rest")
    group.add_argument("-d", action="store_true", dest="debug", help="say on standard error what was read")
    group.add_argument("--force", action="store_true", help="overwrite OUT")
    group.add_argument(
        "--symbols", type=Path, metavar="VMLINUX", help="with a core: types and symbols from this vmlinux"
    )


def run(args: Arguments) -> int:
    """Read IN, sort and write OUT."""
    options = _options(args)
    _refuse_overwriting(args.output, args.force)
    with open_output(args.output, args.force) as out:
        from pageowner.commands.finish import finish
        from pageowner.ownertext.sort import sort_text, sorted_text

        with _blocks(args) as (blocks, remarks):
            found = sort_text(blocks, options)
        if not found.health.records and not filter_of(args, OURS):
            raise PageownerError(
                f"{args.input} has no page_owner records; give what /sys/kernel/debug/page_owner prints"
            )
        for block in sorted_text(found, options):
            out.write(block)
    if args.debug:
        print(f"pageowner: {found.health.records} records read, {found.frame.height} groups", file=sys.stderr)
    remarks += found.health.problems
    return finish(remarks, partial=bool(remarks))


def _options(args: Arguments) -> SortOptions:
    letters = set(args.letters or ())
    if len(letters) > 1:
        given = " and ".join(f"-{letter}" for letter in sorted(letters))
        raise UsageError(f"{given} are different orders; give one of them, or --sort=KEY,…")
    order = (LETTERS[letters.pop()],) if letters else args.sort
    return SortOptions(
        order=order or SortOptions.order,
        cull=args.cull or frozenset(),
        pids=args.pid,
        tgids=args.tgid,
        names=_carried(args.name),
        modules=_carried(args.module),
        held_only=args.held_only,
    )


def _carried(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    from pageowner.rawtext import carry

    return tuple(carry(name) for name in names)


def _refuse_overwriting(path: Path, force: bool) -> None:
    # -f means something else here, so the usual message would mislead.
    if str(path) != "-" and path.is_file() and not force:
        raise PageownerError(f"{path} exists; use --force to overwrite it, or another name")


@contextmanager
def _blocks(args: Arguments) -> Iterator[tuple[Iterator[bytes], list[str]]]:
    """The text's bytes, and a list that has what to say about them once they are read."""
    from pageowner.ownertext.source import open_text

    remarks: list[str] = []
    if _is_text(args.input):
        with open_text(args.input) as text:
            yield _wanted_blocks(args, text, remarks), remarks
        remarks += [text.problem] if text.problem else []
        return
    yield _report_blocks(args, remarks), remarks


def _wanted_blocks(args: Arguments, text: Iterable[bytes], remarks: list[str]) -> Iterator[bytes]:
    """The text, or what of it the filters leave."""
    from pageowner.ownertext.health import Health
    from pageowner.ownertext.rewrite import chosen_records
    from pageowner.snapshot.text_chosen import TextChosen

    wanted, health = filter_of(args, OURS), Health()
    if not wanted:
        yield from text
        return
    yield from chosen_records(health.cuts(text), TextChosen(args.input, wanted))
    remarks += health.problems


def _is_text(path: Path) -> bool:
    """Everything but a dump: a pipe cannot be looked into, and a text with other lines before is one, too."""
    from pageowner.sources.sniff import SourceKind, sniff

    if str(path) == "-" or (path.exists() and not path.is_file()):
        return not path.is_dir()
    return sniff(path).kind in (SourceKind.OWNERTEXT, SourceKind.OTHER, SourceKind.EMPTY)


def _report_blocks(args: Arguments, remarks: list[str]) -> Iterator[bytes]:
    """The records of a core or a snapshot, as ``report`` writes them."""
    from pageowner.reporters.report_text import report_bytes
    from pageowner.snapshot.recorded import recorded_tables
    from pageowner.snapshot.report import Selection, report_tables
    from pageowner.snapshot.scan import open_scan
    from pageowner.snapshot.store import is_snapshot, load_snapshot
    from pageowner.snapshot.tables import remarks as remarks_of
    from pageowner.sources import SourceSelection, open_source

    wanted = filter_of(args, OURS)
    if is_snapshot(args.input):
        snapshot = load_snapshot(args.input)
        yield from map(report_bytes, recorded_tables(snapshot, args.input, wanted))
        remarks += snapshot.remarks
        return
    scan = open_scan(open_source(SourceSelection("path", args.input, symbols=args.symbols)), ())
    for table in report_tables(scan, Selection(wanted=wanted)):
        yield report_bytes(table)
    remarks += remarks_of(scan)


def _parsed(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    def of(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return of


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of numbers; write 1,2,3") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
