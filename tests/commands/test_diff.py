# SPDX-License-Identifier: LGPL-2.1-or-later
"""``pageowner diff`` as a command: sources, output, exit status."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from pageowner.commands import main
from pageowner.commands.diff import size
from pageowner.snapshot.store import save_snapshot
from tests.commands.lines import SNAPSHOT
from tests.conftest import Capture
from tests.snapshots.make import snapshot

STACK = "new_slab < d_alloc < path_openat"


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    """Two snapshots; dentry grew by 100 pages, b went."""
    save_snapshot(
        snapshot([("SLAB_PAGE", "dentry", STACK, 9), ("ALLOC_PAGE", "b", "", 3)]), tmp_path / "old"
    )
    save_snapshot(
        snapshot([("SLAB_PAGE", "dentry", STACK, 109), ("FREE_PAGE", "order 0", "", 900)]), tmp_path / "new"
    )
    return [str(tmp_path / "old"), str(tmp_path / "new")]


def test_text(pair: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *pair]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["+400", "KiB", "36.0", "KiB", "436", "KiB", "SLAB_PAGE", "dentry"] in lines
    assert ["from", "d_alloc", "<", "path_openat"] in lines
    assert ["-12.0", "KiB", "12.0", "KiB", "0", "B", "ALLOC_PAGE", "b"] in lines
    assert not any("FREE_PAGE" in line for line in lines)


def test_json(pair: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--json", *pair]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "pageowner.diff/1" and found["sources"] == pair
    assert found["owners"]["grew"] == [
        {
            "word": "SLAB_PAGE", "owner": "dentry", "bytes": [36864, 446464], "change": 409600,
            "growth": 409600, "steady": True, "stack": "d_alloc < path_openat",
        }
    ]  # fmt: skip
    assert [row["owner"] for row in found["owners"]["shrank"]] == ["b"]
    assert found["most_growth"] == 409600 and found["turnover"] == 0


@pytest.mark.parametrize(("limit", "status"), [("400K", 3), ("409600", 3), ("401K", 0), ("1M", 0)])
def test_fail_if_growth(limit: str, status: int, pair: list[str]) -> None:
    assert main(["diff", *pair, "--fail-if-growth", limit]) == status
    assert main(["diff", *reversed(pair), "--fail-if-growth", limit]) == 0 or limit == "0"


def test_a_source_and_itself(capture: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    core = str(capture.core)
    assert main(["diff", core, "-n", "3", core, "--fail-if-growth", "0"]) == 0
    assert capsys.readouterr().out == ""


def test_kernels_compare(capture: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    """Version 1's snapshot is of the 6.12 capture: most names join even with that of another kernel."""
    assert main(["diff", "--json", "-n", "9999", SNAPSHOT, "-c", str(capture.core)]) == 0
    found = json.loads(capsys.readouterr().out)
    both = [row for part in found["owners"].values() for row in part if min(row["bytes"]) > 0]
    assert (len(both) > 50) == (capture.version != "6.12")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("4096", 4096), ("1K", 1024), ("1.5m", 3 << 19), ("2GiB", 2 << 30), ("1 TB", 1 << 40)],
)
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "1P", "1e9", "K", "1.", "9" * 99, "\u0661K"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        size(text)


def test_standard_input_is_read_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "-", "-"]) == 2
    assert capsys.readouterr().err == "pageowner: error: standard input can be read only once: name files\n"
