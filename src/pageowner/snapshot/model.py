# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a snapshot is: tables, and what is known of them.

Nothing here reads a kernel, so that a snapshot on disk is opened without what reading one takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

LAYER_SCHEMA = {"word": pl.String, "ok": pl.Boolean, "why": pl.String, "stale": pl.Int64, "users": pl.Int64}


@dataclass
class Coverage:
    """What was read and what was not, in pages."""

    scanned: int = 0
    unreadable: int = 0
    excluded: int = 0
    changed: int = 0
    torn: int = 0
    stale: int = 0
    structures: int = 0
    """Slab pages and page tables that are excluded from the dump: names may be missing."""


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
    groupings: dict[str, pl.DataFrame] = field(default_factory=dict)
    """Pages by process, cgroup, …, those that were asked for: :data:`pageowner.snapshot.tallies.TALLIES`."""
    pages: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Every page, in runs (:func:`pageowner.snapshot.page_runs.page_runs`), where asked for."""
    records: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Every page, in runs that are alike in all (:mod:`pageowner.snapshot.records`), where asked for."""
    allocations: pl.DataFrame = field(default_factory=pl.DataFrame)
    states: pl.DataFrame = field(default_factory=pl.DataFrame)
    about: dict[str, str] = field(default_factory=dict)
    """``release``, ``host`` and ``version`` of the kernel."""
    partial: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def names(self) -> pl.DataFrame:
        """What owners are called on every host (:func:`pageowner.snapshot.common.common_names`)."""
        from pageowner.snapshot.common import common_names

        return common_names(self.owners)
