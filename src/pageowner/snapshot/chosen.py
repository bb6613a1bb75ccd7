# SPDX-License-Identifier: LGPL-2.1-or-later
"""Filters at work on a scan: the pages, or the records, of a section that somebody asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from pageowner.analyses.filters import Filter, matching
from pageowner.kernel.page_owner import PageOwner
from pageowner.snapshot.claims import UNCLAIMED
from pageowner.snapshot.rows import Rows
from pageowner.snapshot.scan import Scan, SectionScan


class Chosen:
    """What of a scan is *wanted*; one object serves a scan."""

    def __init__(self, scan: Scan, wanted: Filter) -> None:
        self._scan, self._wanted = scan, wanted
        self._rows = Rows(scan, wanted.edges)
        self._conditions = wanted.conditions(last_allocation(scan) if wanted.by_age else 0)

    def sections(self) -> Iterator[SectionScan]:
        """The sections that may hold such pages; all others in them are owned by nobody."""
        for section in self._scan.run(*self._wanted.reach):
            yield self.only(section)

    def only(self, section: SectionScan) -> SectionScan:
        """*section* with all pages that are not wanted unclaimed."""
        rows = self._rows.of(section)
        kept = rows.filter(matching(rows, self._conditions, self._rows.lookups()))
        size, start = section.pages.section.n, section.pages.section.start
        # +1 where a run begins, -1 behind its end; the running sum is 1 inside.
        steps = np.zeros(size + 1, np.int8)
        first, n = kept.get_column("pfn").to_numpy() - start, kept.get_column("n").to_numpy()
        steps[first] += 1  # runs do not overlap, so no place is named twice
        steps[first + n] -= 1
        wanted = np.cumsum(steps[:-1]) > 0
        return replace(section, layer=np.where(wanted, section.layer, np.uint8(UNCLAIMED)), whole=section)

    def records(self, section: SectionScan, records: pl.DataFrame) -> pl.DataFrame:
        """Those of *records* (``pfn``, ``n``: blocks that begin in the section) of which the first page
        matches; a range of page frames need only meet the block."""
        at = records.get_column("pfn").to_numpy() - section.pages.section.start
        rows = records.select("pfn", "n").hstack(self._rows.at(section, at))
        return records.filter(matching(rows, self._conditions, self._rows.lookups()))


def last_allocation(scan: Scan) -> int:
    """When the youngest of all recorded allocations was made, in ns after boot; 0 where none says."""
    newest = 0
    if not isinstance(scan.page_owner, PageOwner) or "ts_nsec" not in scan.page_owner.has:
        return newest
    for section in scan.sections:
        records = scan.page_owner.records(section)
        if records is not None:
            newest = max(newest, int(records.rows["ts_nsec"][records.allocated].max(initial=0)))
    return newest
