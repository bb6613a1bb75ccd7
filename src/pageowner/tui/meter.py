# SPDX-License-Identifier: LGPL-2.1-or-later
"""All of memory in one line, and what its letters stand for."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from rich.style import Style
from rich.text import Text

from pageowner.analyses.kinds import PAGE_BYTES
from pageowner.analyses.unseen import unseen
from pageowner.reporters.palette import FAMILIES, Family, family_of
from pageowner.tui.shown import small_size

_SHORT = {"processes": "proc", "page cache": "cache", "kernel": "kern", "buffers": "buf", "stack only": "stk"}
"""Names with which all families fit into 80 cells."""


@dataclass(frozen=True)
class Memory:
    """``families``: pages by family, in their order; ``unseen``: those that no line of meminfo counts."""

    families: dict[str, int]
    unseen: int

    @property
    def total(self) -> int:
        """All pages."""
        return sum(self.families.values())


def memory(owners: pl.DataFrame) -> Memory:
    """Add up the owners table."""
    pages = {family.name: 0 for family in FAMILIES}
    for word, count in owners.group_by("word").agg(pl.col("pages").sum()).iter_rows():
        pages[family_of(word).name] += count
    return Memory(pages, int(unseen(owners).get_column("pages").sum()))


def bar(found: Memory, width: int) -> Text:
    """A line of *width* cells: the families' letters, each as wide as it is big, and the sum."""
    total = small_size(found.total * PAGE_BYTES)
    cells = width - len(total) - 3
    line = Text("[", no_wrap=True)
    done, seen = 0, 0
    for family in FAMILIES:
        seen += found.families[family.name]
        upto = round(seen * cells / found.total) if found.total else 0
        line.append(family.letter * (upto - done), _style(family))
        done = max(done, upto)
    line.append(f"{' ' * (cells - done)}] {total}")
    return line


def legend(found: Memory, width: int) -> Text:
    """Letter, name and size of each family that has pages, and what meminfo does not see; where there is no
    room, with short names, and without the smallest."""
    line = _legend(found, list(FAMILIES), "  ", {})
    rest = f"  unseen by meminfo {small_size(found.unseen * PAGE_BYTES)}"
    if found.unseen and len(line) + len(rest) <= width:
        return line.append(rest)
    families = sorted(FAMILIES, key=lambda family: found.families[family.name])
    while len(line) > width and families:
        line = _legend(found, [family for family in FAMILIES if family in families], " ", _SHORT)
        families.pop(0)
    return line


def _legend(found: Memory, families: list[Family], gap: str, short: dict[str, str]) -> Text:
    parts = []
    for family in families:
        pages, name = found.families[family.name], short.get(family.name, family.name)
        if pages:
            part = Text(family.letter, _style(family), end="")
            own = name[0] == family.letter.lower()
            part.append(f"{name[1:] if own else name if short else f' {name}'} ", Style())
            parts.append(part.append(small_size(pages * PAGE_BYTES), "bold"))
    return Text(gap, no_wrap=True).join(parts)


def _style(family: Family) -> Style:
    return Style() if family.name == "free" else Style(color="black", bgcolor=family.dark)
