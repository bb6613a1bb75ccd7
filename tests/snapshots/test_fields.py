# SPDX-License-Identifier: LGPL-2.1-or-later
"""The field table agrees with what a scan makes, and the documents with it."""

from __future__ import annotations

from pathlib import Path

from pageowner.snapshot.fields import FIELDS, TABLES, fields_of, help_text, markdown
from pageowner.snapshot.reading import read_everything
from pageowner.snapshot.tallies import TALLIES
from pageowner.sources import SourceSelection
from tests.conftest import Capture

DOCUMENT = Path(__file__).parents[2] / "docs" / "tables.md"


def test_every_table_of_a_scan_is_described(capture: Capture) -> None:
    scanned = read_everything(SourceSelection("core", capture.core), records=True)
    for name in TABLES:
        plain = name.removeprefix("by-")
        found = scanned.groupings[plain] if plain != name else getattr(scanned, name)
        assert found.schema == {field.name: field.dtype for field in fields_of(name)}, name
    assert {f"by-{name}" for name in TALLIES} <= TABLES.keys()


def test_fields_are_told_apart() -> None:
    assert len({(field.table, field.name) for field in FIELDS}) == len(FIELDS)
    assert {field.table for field in FIELDS} == TABLES.keys()
    assert all(field.help for field in FIELDS)


def test_the_document_is_up_to_date() -> None:
    """To make it anew: python -c 'from pageowner.snapshot.fields import *; print(markdown(), end="")'"""
    assert DOCUMENT.read_text() == markdown()


def test_help_names_every_column() -> None:
    text = help_text()
    assert all(f"    {field.name}" in text for field in FIELDS)
    assert max(map(len, text.splitlines())) <= 110
