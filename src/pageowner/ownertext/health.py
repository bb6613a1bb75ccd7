# SPDX-License-Identifier: LGPL-2.1-or-later
"""How whole a text is: what everything that reads one says at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pageowner.ownertext.chunks import chunks
from pageowner.ownertext.cuts import Cuts, cut


@dataclass
class Health:
    """``records`` read, ``damaged`` of them not in full; ``cut_off``: no empty line after the last one."""

    records: int = 0
    damaged: int = 0
    cut_off: bool = False

    def cuts(self, blocks: Iterable[bytes]) -> Iterator[Cuts]:
        """The records of a text, piece by piece, counted. Only pieces that have any."""
        for data in chunks(blocks):
            found = cut(data)
            if len(found):
                self.add(found)
                yield found

    def add(self, cuts: Cuts) -> None:
        """Count one more piece."""
        self.records += len(cuts)
        self.damaged += int((~cuts.ok).sum())
        self.cut_off = not cuts.data.endswith(b"\n\n")

    @property
    def problems(self) -> list[str]:
        """A line each; none for a whole text."""
        lines = []
        if self.damaged:
            lines.append(f"{self.damaged} of {self.records} records are damaged")
        if self.cut_off:
            lines.append("the text is cut off: it does not end with an empty line")
        return lines
