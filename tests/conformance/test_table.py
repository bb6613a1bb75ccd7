# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of sources in the documentation is the one that the conformance suite is made of."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.cells import CELLS, MARKED, PASSED, Cell, markdown

DOCS = Path(__file__).parents[2] / "docs" / "sources.md"


def test_the_documentation_has_this_table() -> None:
    assert markdown() in DOCS.read_text()


def test_at_most_four_cells_are_marked() -> None:
    assert len(MARKED) <= 4 and set(MARKED) <= set(CELLS)
    assert all(command and limit for command, limit in MARKED.values())


def test_what_has_passed_is_a_cell() -> None:
    passed = [Cell(v, s, t) for v, types in PASSED.items() for t, sources in types.items() for s in sources]
    assert set(passed) <= set(CELLS) - set(MARKED)
