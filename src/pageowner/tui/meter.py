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

_SHORT = {
    "processes": "procs", "page cache": "cache", "kernel": "kern", "buffers": "bufs", "stack only": "stack",
}  # fmt: skip


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
    """Letter, name and size of each family that has pages, and what meminfo does not see; as fits."""
    line = _legend(found, "  ", {})
    rest = f"unseen by meminfo {small_size(found.unseen * PAGE_BYTES)}"
    if found.unseen and len(line) + len(rest) <= width:
        return line.append(rest)
    if len(line) > width:
        line = _legend(found, " ", _SHORT)
    line.truncate(width)
    return line


def _legend(found: Memory, gap: str, short: dict[str, str]) -> Text:
    line = Text(no_wrap=True)
    for family in FAMILIES:
        pages, name = found.families[family.name], short.get(family.name, family.name)
        if pages:
            line.append(family.letter, _style(family))
            own = name[0] == family.letter.lower()
            line.append(f"{name[1:] if own else name if short else f' {name}'} ")
            line.append(small_size(pages * PAGE_BYTES), "bold").append(gap)
    return line


def _style(family: Family) -> Style:
    return Style() if family.name == "free" else Style(color="black", bgcolor=family.dark)
