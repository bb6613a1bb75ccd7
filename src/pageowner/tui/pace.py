# SPDX-License-Identifier: LGPL-2.1-or-later
"""When to scan again. The machine that is watched is in trouble: what we take, it has not."""

from __future__ import annotations

from dataclasses import dataclass

from pageowner.reporters.sizes import human_size
from pageowner.sources.live import NEEDED

STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
SHARE = 10
"""A scan is followed by a pause of so many times its own time: 9 % of one CPU at most."""
ENOUGH = 2 * NEEDED
"""Bytes of available memory below which we hold back; below ``NEEDED`` we do not scan at all."""
_SHORT = 4
_MOST_FAILURES = 5


@dataclass
class Pace:
    """``interval``: seconds between scans that the user wants. ``scan``: what the last one took.
    ``failures``: how many have failed since one went well."""

    interval: float = 5.0
    scan: float = 0.0
    failures: int = 0

    def wait(self, available: int | None) -> float:
        """Seconds from the end of a scan to the next one's beginning.

        :param available: bytes of memory that can be had here (None: not known).
        """
        wait = max(self.interval, SHARE * self.scan) * (1 << min(self.failures, _MOST_FAILURES))
        short = available is not None and available < ENOUGH
        return wait * _SHORT if short else wait

    def refusal(self, available: int | None) -> str | None:
        """Why there must be no scan now, in one line."""
        if available is None or available >= NEEDED:
            return None
        return f"only {human_size(available)} of memory are available here: no scan until there is more"

    def why(self, available: int | None) -> str:
        """What makes the wait longer than the user wants, in few words; empty when nothing does."""
        if self.failures:
            return "after a failure"
        if available is not None and available < ENOUGH:
            return "memory is short"
        return f"{SHARE} x scan" if SHARE * self.scan > self.interval else ""

    def slower(self) -> None:
        """The next longer of :data:`STEPS`."""
        self.interval = next((step for step in STEPS if step > self.interval), STEPS[-1])

    def faster(self) -> None:
        """The next shorter one."""
        self.interval = next((step for step in reversed(STEPS) if step < self.interval), STEPS[0])
