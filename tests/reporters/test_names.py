# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names that users chose: no output gives them to the terminal as they are, or escapes them twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pageowner.commands import main
from pageowner.escape import escape
from pageowner.rawtext import carry
from pageowner.snapshot.reading import read_everything
from pageowner.snapshot.store import save_snapshot
from pageowner.snapshot.tables import Snapshot
from pageowner.sources import SourceSelection
from tests.conftest import Capture

NASTY = b"\x1b[2J\x07\\\xff\x7f"
SHOWN = escape(NASTY)  # tables hold names in this form

COMMANDS = (
    ["summary", "-n", "1000"],
    ["summary", "--by", "process"],
    ["summary", "--by", "cgroup"],
    ["summary", "--by", "mount"],
    ["summary", "--by", "stack"],
    ["diff"],
    ["blockers", "-n", "1000"],
    ["sql", "select * from owners"],
    ["sql", "select * from states"],
    ["export", "-O", "folded"],
    ["explain", "{pfn}"],
)


@pytest.fixture(scope="module")
def nasty(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """A snapshot with such names everywhere, one with others, and the PFN of a page of such an owner."""
    place = tmp_path_factory.mktemp("names")
    found = read_everything(SourceSelection("core", capture.core), records=True)
    less = found.usage.with_columns(pl.col("pages") // 2)
    save_snapshot(replace(found, usage=less), place / "plain")  # so that something grew
    save_snapshot(renamed(found), place / "nasty")
    pfn = int(found.records.filter(pl.col("line").str.contains(" name:"))["pfn"][0])
    return place / "nasty", place / "plain", pfn


def renamed(found: Snapshot) -> Snapshot:
    def of(table: pl.DataFrame, *names: str) -> pl.DataFrame:
        there = [pl.when(pl.col(name).is_not_null()).then(pl.lit(SHOWN)).alias(name) for name in names]
        return table.with_columns(there)

    owner = pl.col("owner") + " " + SHOWN
    named = ("process", "cgroup", "mount")
    groupings = {n: of(t, n) if n in named else t for n, t in found.groupings.items()}
    return replace(
        found,
        owners=found.owners.with_columns(owner),
        pages=found.pages.with_columns(owner),
        stacks=found.stacks.with_columns(pl.col("functions") + "\n" + SHOWN),
        states=of(found.states, "cgroup"),
        allocations=found.allocations.with_columns(comm=pl.lit(carry(NASTY))),
        groupings=groupings,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command))
def test_text_is_safe(
    command: list[str],
    nasty: tuple[Path, Path, int],
    capture: Capture,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    path, plain, pfn = nasty
    if "stack" in command:
        capture.need_records()
    sources = [str(plain), str(path)] if command == ["diff"] else [str(path)]
    assert main([part.replace("{pfn}", str(pfn)) for part in command] + sources) == 0
    text = capfdbinary.readouterr().out
    assert not set(text) & {*range(10), *range(11, 32), 0x7F, 0xFF}, text[:300]
    flat = b"".join(text.split())
    assert SHOWN.encode().replace(b" ", b"") in flat
    assert SHOWN.replace("\\", "\\134").encode() not in flat
