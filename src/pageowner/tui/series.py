# SPDX-License-Identifier: LGPL-2.1-or-later
"""The moments that are kept: those of a series of snapshots, or what was seen of a live kernel lately."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from pageowner.analyses.filters import Filter
from pageowner.snapshot.model import Snapshot

MOST_MOMENTS = 240
MOST_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Moment:
    """One picture. ``number`` counts from 1 and is never given twice; ``when``: local time, where known;
    ``seconds``: of a clock that only goes forward, for rates (0: not known); ``source``: which of them;
    ``wanted``: it has these pages only (None: all)."""

    number: int
    snapshot: Snapshot
    when: datetime | None = None
    seconds: float = 0.0
    source: int = 0
    name: str = ""
    wanted: Filter | None = None

    @property
    def bytes(self) -> int:
        """Roughly what keeping it takes."""
        kept = self.snapshot
        tables = (kept.usage, kept.owners, kept.stacks, *kept.groupings.values())
        return int(sum(table.estimated_size() for table in tables))


@dataclass
class Series:
    """Moments, oldest first; ``at``: the one that is shown; ``mark``: what it is compared with."""

    moments: list[Moment] = field(default_factory=list)
    at: int = -1
    mark: Moment | None = None
    marked: bool = False
    """Whether the user has set the mark; else it is the first moment."""
    keep_all: bool = False
    """The moments are the user's own snapshots: none goes."""
    next_source: int = 0
    """Which source is to be looked at next for the first time."""
    _taken: int = 0

    @property
    def shown(self) -> Moment:
        """The moment on the screen."""
        return self.moments[self.at]

    @property
    def following(self) -> bool:
        """Whether the newest moment is shown."""
        return self.at == len(self.moments) - 1

    def add(self, moment: Moment) -> None:
        """Keep *moment* as the newest; who looks at the newest sees it. The oldest may go for it."""
        follow = self.following
        self.moments.append(moment)
        self._taken += 1
        if follow:
            self.at = len(self.moments) - 1
        if self.mark is None:
            self.mark = moment
        if self.keep_all:
            return
        size = sum(each.bytes for each in self.moments)
        while len(self.moments) > 2 and (len(self.moments) > MOST_MOMENTS or size > MOST_BYTES):
            if self.at == 0:
                self.at = 1
            size -= self.moments.pop(0).bytes
            self.at -= 1

    def copy(self) -> Series:
        """The same, as it is now: for a thread."""
        return replace(self, moments=list(self.moments))

    @property
    def next_number(self) -> int:
        """The number of the next moment."""
        return self._taken + 1

    def step(self, by: int) -> bool:
        """Go *by* moments back (negative) or forth; whether there was one."""
        to = min(max(self.at + by, 0), len(self.moments) - 1)
        moved, self.at = to != self.at, to
        return moved

    def before(self, moment: Moment) -> Moment | None:
        """The one before *moment*."""
        at = self.moments.index(moment)
        return self.moments[at - 1] if at > 0 else None

    def set_mark(self, moment: Moment | None = None) -> None:
        """Compare with *moment* from now on; None: with the oldest that is kept."""
        self.mark, self.marked = moment or self.moments[0], moment is not None

    def upto(self, moment: Moment, most: int) -> list[Moment]:
        """The last *most* moments that end with *moment*."""
        at = self.moments.index(moment) + 1
        return self.moments[max(0, at - most) : at]
