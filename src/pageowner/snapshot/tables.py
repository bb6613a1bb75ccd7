# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a scan leaves behind: tables. Analyses and reporters work on these and never touch a kernel."""

from __future__ import annotations

from dataclasses import dataclass, field

import drgn
import polars as pl

from pageowner.analyses.balance import balance
from pageowner.kernel.counters import read_counters
from pageowner.kernel.page_owner import NoRecords
from pageowner.kernel.target import Kernel
from pageowner.kernel.zone import read_zones
from pageowner.layers.base import Layer
from pageowner.snapshot.scan import Coverage, Scan, open_scan
from pageowner.snapshot.tallies import TALLIES
from pageowner.snapshot.tally import Tally
from pageowner.snapshot.usage import Usage

LAYER_SCHEMA = {"word": pl.String, "ok": pl.Boolean, "why": pl.String, "stale": pl.Int64, "users": pl.Int64}


@dataclass(frozen=True)
class Snapshot:
    """The tables of one scan.

    ``usage``: pages by owner, stack, node, zone and order; ``owners`` and ``stacks`` say what its ``id`` and
    ``stack`` stand for: see :mod:`pageowner.snapshot.usage`. Their sums are equal. ``zones``: see
    :func:`pageowner.kernel.zone.read_zones`. ``layers``: one row per layer: does it work, and if not, why.
    ``counters``: the kernel's own counters beside ours, in pages. ``remarks``: lines for standard error.
    """

    usage: pl.DataFrame
    owners: pl.DataFrame
    stacks: pl.DataFrame
    zones: pl.DataFrame
    layers: pl.DataFrame
    counters: pl.DataFrame
    coverage: Coverage
    by: str | None = None
    """What ``grouping`` groups by."""
    grouping: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Pages by something else, where asked for: :data:`pageowner.snapshot.tallies.TALLIES`."""
    partial: bool = False
    remarks: list[str] = field(default_factory=list)


def take_snapshot(kernel: Kernel, extra: tuple[type[Layer], ...] = (), by: str | None = None) -> Snapshot:
    """Scan all of memory once and keep the tables.

    :param by: a name in :data:`pageowner.snapshot.tallies.TALLIES`: group pages by that, too.
    """
    scan = open_scan(kernel, extra)
    usage = Usage(scan)
    terms = Tally(scan)
    grouped = TALLIES[by](scan) if by else None
    for section in scan.run():
        usage.add(section)
        terms.add(section)
        if grouped:
            grouped.add(section)
    usage_table, owners, stacks = usage.tables()
    return Snapshot(
        usage=usage_table,
        owners=owners,
        stacks=stacks,
        zones=read_zones(kernel),
        layers=layer_table(scan),
        counters=_counters(kernel, terms),
        coverage=scan.coverage,
        by=by,
        grouping=grouped.frame() if grouped else pl.DataFrame(),
        partial=scan.partial,
        remarks=remarks(scan),
    )


def _counters(kernel: Kernel, terms: Tally) -> pl.DataFrame:
    """The kernel's counters beside ours; those that a damaged dump has lost are left out."""
    try:
        return balance(kernel.memo(read_counters), terms.terms())
    except (LookupError, drgn.FaultError) as error:
        kernel.notes.append(f"the kernel's own counters cannot be read ({error})")
        return balance({}, {})


def layer_table(scan: Scan) -> pl.DataFrame:
    """One row per layer: ``word``, ``ok``, ``why`` not, and the pages that its claims lost."""
    rows = [(r.word, r.active, r.failed or r.missing, r.stale, r.users) for r in scan.runs]
    return pl.DataFrame(rows, schema=LAYER_SCHEMA, orient="row")


def remarks(scan: Scan) -> list[str]:
    """What the reader must know of this result, a line each: no records, failed layers, what is missing."""
    lines = list(scan.kernel.notes)
    if isinstance(scan.page_owner, NoRecords):
        lines.append(scan.page_owner.reason)
    lines += [f"layer {run.word} {run.failed}" for run in scan.runs if run.failed]
    return lines + _coverage_lines(scan.coverage)


def _coverage_lines(coverage: Coverage) -> list[str]:
    counts = (
        (coverage.unreadable, "struct pages are not in the source"),
        (
            coverage.structures,
            "pages of kernel structures are excluded from the dump, so names are missing: "
            "makedumpfile before 1.7.8 does that to kernels since 6.10; dump again with a newer one",
        ),
        (coverage.torn, "struct pages contradict each other"),
        (coverage.stale, "pages that an owner lists are free or another's"),
    )
    return [f"{count} {text}" for count, text in counts if count]
