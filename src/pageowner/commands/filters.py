# SPDX-License-Identifier: LGPL-2.1-or-later
"""The filter options, the same on every command that has them: one table, one parser, one help text.

``add_filter_options`` puts them on a parser, ``filter_of`` reads them, and the tables of what was asked for
come from ``snapshot.reading.read_snapshot(…, wanted=…)``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pageowner.commands.options import pfn_range
from pageowner.commands.parser import Arguments, Parser

if TYPE_CHECKING:
    from pageowner.analyses.filters import Filter

HELP = (
    "Each may be given several times: any of its values will do; of different ones all must hold. "
    "GLOB: * and ?. TIME: seconds, or 90s, 5m, 2h, 1d. A page that the option says nothing about (a free "
    "page has no allocation) is left out. Processes that own pages now go by --owner 'pid 7 *'."
)
_MOST_CHARACTERS = 500
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def glob(text: str) -> str:
    """A pattern of some length at most."""
    if not text or len(text) > _MOST_CHARACTERS:
        raise argparse.ArgumentTypeError(f"a GLOB has 1 to {_MOST_CHARACTERS} characters")
    return text


def number(text: str) -> int:
    """A whole number, 0 or more."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"'{text}' is no number")
    return int(text)


def orders(text: str) -> tuple[int, int]:
    """``3`` or ``3-10``, both ends included."""
    first, dash, last = text.partition("-")
    low = number(first)
    high = number(last) if dash else low
    if high < low:
        raise argparse.ArgumentTypeError(f"'{text}' ends before it begins")
    return low, high


def seconds(text: str) -> float:
    """Seconds, 0 or more, perhaps with a fraction or as minutes, hours, days."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{0,9})?)([smhd]?)", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no time; write 90, 1.5s, 5m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


@dataclass(frozen=True)
class Option:
    """One option: its flag, the member of :class:`pageowner.analyses.filters.Filter` that it fills, how it
    is read, its placeholder and help. ``once``: it can be given once."""

    flag: str
    member: str
    read: Callable[[str], object]
    placeholder: str
    help: str
    once: bool = False


OPTIONS = (
    Option("--kind", "kinds", glob, "GLOB", "of this kind: SLAB_PAGE, or just slab"),
    Option("--owner", "owners", glob, "GLOB", "of this owner, as summary and sql name it"),
    Option("--pid", "pids", number, "PID", "allocated by this thread"),
    Option("--tgid", "tgids", number, "TGID", "allocated by this process"),
    Option("--comm", "comms", glob, "GLOB", "allocated by processes of this name"),
    Option("--cgroup", "cgroups", glob, "GLOB", "charged to this cgroup: its path, or the end of it"),
    Option("--node", "nodes", number, "N", "on this NUMA node"),
    Option("--zone", "zones", glob, "GLOB", "in this zone: DMA32, Normal, …"),
    Option("--order", "orders", orders, "A-B", "allocated with this order, or from A to B"),
    Option("--gfp", "gfps", glob, "GLOB", "with this gfp flag; with all of 'GFP_KERNEL|__GFP_ZERO'"),
    Option("--migrate-type", "migrate_types", glob, "GLOB", "in pageblocks of this type: Unmovable, CMA, …"),
    Option("--function", "functions", glob, "GLOB", "with this function in the stack of the allocation"),
    Option("--module", "modules", glob, "GLOB", "with a function of this module in it"),
    Option("--pfn", "pfns", pfn_range, "A-B", "from PFN A to PFN B (decimal or 0x…), both included"),
    Option("--cma", "cmas", glob, "GLOB", "in this CMA area"),
    Option("--older", "older", seconds, "TIME", "allocated TIME or more before the last allocation", True),
    Option("--younger", "younger", seconds, "TIME", "allocated less than TIME before the last one", True),
)


def add_filter_options(parser: Parser, without: tuple[str, ...] = ()) -> None:
    """All of :data:`OPTIONS` but those flags *without*, which the command needs for something else."""
    group = parser.add_argument_group("only some pages", HELP)
    for option in OPTIONS:
        if option.flag in without:
            continue
        if option.once:
            group.add_argument(option.flag, type=option.read, metavar=option.placeholder, help=option.help)
        else:
            group.add_argument(
                option.flag, type=option.read, metavar=option.placeholder, action="append", default=[],
                help=option.help,
            )  # fmt: skip


def filter_of(args: Arguments, without: tuple[str, ...] = ()) -> Filter:
    """What the options ask for."""
    from pageowner.analyses.filters import Filter

    values: dict[str, object] = {}
    for option in OPTIONS:
        if option.flag not in without:
            value = getattr(args, option.flag[2:].replace("-", "_"))
            values[option.member] = value if option.once else tuple(value)
    return Filter(**values)  # type: ignore[arg-type]
