# SPDX-License-Identifier: LGPL-2.1-or-later
"""``explain`` on a snapshot: what was stored is what the source itself says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pageowner.commands import main
from pageowner.snapshot.store import load_snapshot
from tests.commands.lines import SNAPSHOT
from tests.conftest import Capture


def explained(capsys: pytest.CaptureFixture[str], page: str, source: object) -> dict[str, Any]:
    assert main(["explain", "--json", page, str(source)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["schema"] == "pageowner.explain/1"
    return found


@pytest.fixture(scope="module")
def saved(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recall") / "snap"
    assert main(["record", "-o", str(path), str(capture.core)]) == 0
    return path


def test_as_the_source_says(capture: Capture, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first page of one run of every fourth kind."""
    loaded = load_snapshot(saved)
    kinds = loaded.records.join(loaded.owners.select("id", "word"), on="id").sort("pfn")
    firsts = kinds.filter(pl.col("head") | pl.col("allocation").is_null()).unique("word", maintain_order=True)
    capsys.readouterr()
    assert firsts.height > 20
    for pfn in firsts["pfn"].gather_every(4).to_list():
        here, there = explained(capsys, str(pfn), saved), explained(capsys, str(pfn), capture.core)
        assert (here["word"], here["owner"]) == (there["owner"]["word"], there["owner"]["owner"])
        where = there["where"]
        place = f"node {where['node']}, zone {where['zone']}, pageblock {where['pageblock']}"
        assert here["place"] == f"{place} of type {where['type']}"
        if here["line"]:
            assert here["line"] == there["owner"]["line"]
        record = there["record"]
        if here["record"] is None:
            assert record is None or not record["allocated"]
            continue
        assert {**record, "freed": None, "allocation": {**record["allocation"], "note": ""}} == here["record"]


def test_text(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = load_snapshot(saved).records.filter(pl.col("head") & (pl.col("n") == 1))["pfn"][0]
    capsys.readouterr()
    assert main(["explain", f"phys:{head << 12:#x}", str(saved)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"PFN 0x{head:x} ({head}), phys:0x{head << 12:x}\n")
    assert "\nnot stored   who else uses it" in text and "\nallocated: order " in text
    assert max(map(len, text.splitlines())) <= 80


def test_without_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "0x5000", SNAPSHOT]) == 0
    assert "not stored   its allocation; who else uses it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("1:0x5000", "is a snapshot, which holds no page tables: give the PFN or phys:0x…"),
        ("0x50000000", "has no page 0x50000000"),
    ],
)
def test_what_is_not_there(page: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", page, SNAPSHOT]) == 1
    assert capsys.readouterr().err == f"pageowner: error: {SNAPSHOT} {line}\n"
