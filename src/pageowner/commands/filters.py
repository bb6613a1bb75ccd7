# SPDX-License-Identifier: LGPL-2.1-or-later
"""The filter options, the same on every command that has them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pageowner.commands.parser import Arguments, Parser

if TYPE_CHECKING:
    from pageowner.analyses.filters import Filter
    from pageowner.snapshot.tables import Snapshot

_HELP = (
    "Each may be given several times: any of its values will do; of different ones all must hold. "
    "GLOB: * and ?. --older and --younger look at whole groups of equal owner, stack, node, zone and order."
)


def add_filter_options(parser: Parser) -> None:
    """``--kind`` … ``--younger``; read them with ``filter_of``, apply them with ``only``."""
    group = parser.add_argument_group("only some pages", _HELP)
    for flag, name, kind, text in (
        ("--kind", "GLOB", str, "of this kind: SLAB_PAGE, or just slab"),
        ("--owner", "GLOB", str, "of this owner, as summary and sql name it"),
        ("--pid", "PID", number, "of this process"),
        ("--comm", "GLOB", str, "of processes of this name"),
        ("--node", "N", number, "on this NUMA node"),
        ("--zone", "NAME", str, "in this zone: DMA32, Normal, …"),
        ("--order", "A-B", orders, "of this order, or from A to B"),
        ("--function", "GLOB", str, "with this function in the stack of their allocation"),
        ("--module", "GLOB", str, "with a function of this module in it"),
    ):
        group.add_argument(flag, type=kind, metavar=name, action="append", default=[], help=text)
    for flag, text in (("--older", "allocated at least"), ("--younger", "allocated less than")):
        group.add_argument(
            flag, type=seconds, metavar="SECONDS", help=f"{text} SECONDS before the last recorded allocation"
        )


def filter_of(args: Arguments) -> Filter:
    """What the options ask for."""
    from pageowner.analyses.filters import Filter

    return Filter(
        kinds=tuple(args.kind),
        owners=tuple(args.owner),
        pids=tuple(args.pid),
        comms=tuple(args.comm),
        nodes=tuple(args.node),
        zones=tuple(args.zone),
        orders=tuple(args.order),
        functions=tuple(args.function),
        modules=tuple(args.module),
        older=args.older,
        younger=args.younger,
    )


def only(snapshot: Snapshot, wanted: Filter) -> Snapshot:
    """*snapshot* with the usage and owners of *wanted* pages alone; itself when all are wanted."""
    if not wanted:
        return snapshot
    from dataclasses import replace

    from pageowner.analyses.filters import filtered

    usage, owners = filtered(snapshot, snapshot.zones, wanted)
    return replace(snapshot, usage=usage, owners=owners)


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
    """Seconds, 0 or more, perhaps with a fraction."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdigit() or not text.isascii() or len(text) > 20:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds")
    return float(text)
