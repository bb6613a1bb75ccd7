# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table in docs/deviations.md: the only differences from the kernel's text that tests allow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parent.parent / "docs" / "deviations.md"


@dataclass(frozen=True)
class Deviation:
    """A row: ``name`` and ``values`` are the words in code style, ``kernels`` versions or ``{"all"}``."""

    name: str
    values: frozenset[str]
    what: str
    kernels: frozenset[str]
    why: str

    def allows(self, version: str) -> bool:
        """Whether the row speaks of that kernel (``6.12``)."""
        return "all" in self.kernels or version in self.kernels


def load() -> dict[str, Deviation]:
    """The rows, by name."""
    lines = TABLE.read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    if table[:2] != ["| what | kernels | why |", "|---|---|---|"]:
        raise ValueError(f"{TABLE.name}: the table's columns are not what | kernels | why")
    rows = [_row(line) for line in table[2:]]
    return {row.name: row for row in rows}


def _row(line: str) -> Deviation:
    what, kernels, why = (cell.strip() for cell in line.strip("|").split("|"))
    name, *values = re.findall(r"`([^`]+)`", what)
    return Deviation(name, frozenset(values), what, frozenset(re.split(r",\s*", kernels)), why)
