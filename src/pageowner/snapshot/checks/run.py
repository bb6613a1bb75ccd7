# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run all checks over all of memory, one section after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pageowner.snapshot.checks import mapped, memmap, owners, records, zones
from pageowner.snapshot.checks.view import I64, Findings, ScanCheck, SectionCheck, View
from pageowner.snapshot.scan import Scan

SECTION_CHECKS: tuple[SectionCheck, ...] = (
    memmap.compound,
    memmap.buddy,
    memmap.free_words,
    memmap.zone,
    mapped.mapcount,
    mapped.mapped_free,
    mapped.refcount,
    records.record_free,
    records.record_block,
    records.record_stack,
    owners.owner,
    owners.stale_claim,
    owners.two_owners,
    owners.memcg,
    owners.anon_vma,
)
SCAN_CHECKS: tuple[ScanCheck, ...] = (zones.free_counts,)


@dataclass(frozen=True)
class Finding:
    """``pfn`` -1: it is about no single page. ``text``: what contradicts what."""

    check: str
    pfn: int
    text: str


class CheckRun:
    """``counts``: findings per check so far, those that are not told included; ``told``: how many were."""

    def __init__(self, scan: Scan, most: int | None) -> None:
        self._scan, self._most = scan, most
        self.counts: dict[str, int] = {}
        self.told = 0

    def findings(self) -> Iterator[Finding]:
        """Every finding, but no more than *most* of each check."""
        changed: list[I64] = []
        for section in self._scan.run():
            view = View(self._scan, section)
            if len(view.changed):
                changed.append(view.changed)
            for check in SECTION_CHECKS:
                for found in check(view):
                    yield from self._told(_without(found, changed[-1:]))
        for whole in SCAN_CHECKS:
            for found in whole(self._scan):
                yield from self._told(_without(found, changed))

    def _told(self, found: Findings) -> Iterator[Finding]:
        if not len(found.pfn):
            return
        before = self.counts.get(found.check, 0)
        self.counts[found.check] = before + len(found.pfn)
        room = len(found.pfn) if self._most is None else max(self._most - before, 0)
        for row in range(min(room, len(found.pfn))):
            self.told += 1
            yield Finding(found.check, int(found.pfn[row]), found.text(row))


def _without(found: Findings, changed: list[I64]) -> Findings:
    """*found* without the pages *changed* while they were read: what is said of them is of two moments."""
    if not changed or not len(found.pfn):
        return found
    kept = np.flatnonzero(~np.isin(found.pfn, np.concatenate(changed)))
    return Findings(found.check, found.pfn[kept], lambda row: found.text(int(kept[row])))
