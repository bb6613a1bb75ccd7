# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a scan leaves behind: tables. Analyses and reporters work on these and never touch a kernel."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import drgn
import polars as pl

from pageowner.analyses.balance import balance
from pageowner.analyses.filters import Filter
from pageowner.errors import LayoutError
from pageowner.kernel.counters import read_counters
from pageowner.kernel.page_owner import NoRecords
from pageowner.kernel.target import Kernel
from pageowner.kernel.zone import read_zones
from pageowner.layers.base import Layer
from pageowner.snapshot.chosen import Chosen
from pageowner.snapshot.fields import RECORD_TABLES
from pageowner.snapshot.model import LAYER_SCHEMA, Coverage, Snapshot
from pageowner.snapshot.page_runs import SCHEMA as PAGE_SCHEMA
from pageowner.snapshot.page_runs import page_runs
from pageowner.snapshot.records import RecordTables
from pageowner.snapshot.scan import Scan, open_scan
from pageowner.snapshot.tallies import TALLIES
from pageowner.snapshot.tallies import Tally as PageTally
from pageowner.snapshot.tally import Tally
from pageowner.snapshot.usage import Usage


def take_snapshot(
    kernel: Kernel,
    extra: tuple[type[Layer], ...] = (),
    by: Iterable[str] | None = (),
    pages: bool = False,
    wanted: Filter | None = None,
    records: bool = False,
) -> Snapshot:
    """Scan all of memory once and keep the tables.

    :param by: names in :data:`pageowner.snapshot.tallies.TALLIES`: group pages by these, too;
        None for all that this kernel has.
    :param pages: keep the table of all pages, too.
    :param wanted: count these pages only, in every table; there are no counters then.
    :param records: keep the tables ``records``, ``allocations`` and ``states``, too.
    """
    scan = open_scan(kernel, extra)
    usage = Usage(scan)
    terms = Tally(scan)
    grouped = _tallies(scan) if by is None else {name: TALLIES[name](scan) for name in by}
    kept = RecordTables(scan) if records else None
    runs = [pl.DataFrame(schema=PAGE_SCHEMA)]
    for section in Chosen(scan, wanted).sections() if wanted else scan.run():
        usage.add(section)
        terms.add(section)
        for tally in grouped.values():
            tally.add(section)
        if pages:
            runs.append(page_runs(scan, section))
        if kept is not None:
            kept.add(section)
    usage_table, owners, stacks = usage.tables()
    each = dict(zip(RECORD_TABLES, kept.tables(usage.names()), strict=True)) if kept is not None else {}
    about = _about(kernel) | ({"only": str(wanted)} if wanted else {})
    return Snapshot(
        **each,
        usage=usage_table,
        owners=owners,
        stacks=stacks,
        zones=read_zones(kernel),
        layers=layer_table(scan),
        # Sums over a part of memory are to be compared with nothing.
        counters=balance({}, {}) if scan.stopped or wanted else _counters(kernel, terms),
        coverage=scan.coverage,
        groupings={name: tally.frame() for name, tally in grouped.items()},
        pages=pl.concat(runs) if pages else pl.DataFrame(),
        about=about | (kept.about if kept is not None else {}),
        partial=scan.partial,
        remarks=remarks(scan),
    )


def _tallies(scan: Scan) -> dict[str, PageTally]:
    found = {}
    for name, tally in TALLIES.items():
        with suppress(LayoutError):  # no CONFIG_MEMCG: no cgroups
            found[name] = tally(scan)
    return found


def _about(kernel: Kernel) -> dict[str, str]:
    """What the kernel calls itself (``init_uts_ns``)."""
    try:
        names = kernel.object("init_uts_ns").name
        return {
            ours: getattr(names, theirs).string_().decode("utf-8", "backslashreplace")
            for ours, theirs in (("release", "release"), ("host", "nodename"), ("version", "version"))
        }
    except (LookupError, drgn.FaultError):
        return {"release": kernel.vmcoreinfo.others.get("OSRELEASE", "")}


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
    lines = list(scan.kernel.notes) + ([scan.stopped] if scan.stopped else [])
    if isinstance(scan.page_owner, NoRecords):
        lines.append(scan.page_owner.reason)
    lines += [f"layer {run.word} {run.failed}" for run in scan.runs if run.failed]
    return lines + _coverage_lines(scan.coverage) + [word() for word in scan.kernel.last_words]


def _coverage_lines(coverage: Coverage) -> list[str]:
    counts = (
        (coverage.unreadable, "struct pages are not in the source"),
        (
            coverage.structures,
            "pages of kernel structures are excluded from the dump, so names are missing: "
            "makedumpfile before 1.7.8 does that to kernels since 6.10, and 1.7.8 to 7.2; "
            "dump again with a newer one",
        ),
        (coverage.changed, "pages changed while being read"),
        (coverage.torn, "struct pages contradict each other"),
        (coverage.stale, "pages that an owner lists are free or another's"),
    )
    return [f"{count} {text}" for count, text in counts if count]
