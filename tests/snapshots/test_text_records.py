# SPDX-License-Identifier: LGPL-2.1-or-later
"""A page_owner text that was recorded: its snapshot gives the same text, and the same answers, again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pageowner.commands import main
from pageowner.snapshot.store import load_snapshot
from tests.conftest import Capture


@pytest.fixture(scope="module")
def text(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "page_owner.txt"
    path.write_bytes(capture.read("page_owner.txt"))
    return path


def made(target: Path, *argv: str) -> bytes:
    assert main([*argv, "-o", str(target)]) == 0
    return target.read_bytes() if target.is_file() else b""


def test_text_record_report(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "saved"
    made(saved, "record", str(text))
    assert made(tmp_path / "a", "report", "--kernel-format", str(saved)) == text.read_bytes()
    assert made(tmp_path / "b", "report", str(saved)) == made(tmp_path / "c", "report", str(text))
    some = ["--gfp", "__GFP_ZERO", "--order", "0-3"]
    left = made(tmp_path / "d", "report", *some, str(saved))
    assert left == made(tmp_path / "e", "report", *some, str(text))
    loaded = load_snapshot(saved)
    assert loaded.records["n"].sum() == loaded.usage["pages"].sum() == loaded.owners["pages"].sum()
    told = []
    for source in (saved, text):
        capsys.readouterr()
        assert main(["summary", "--json", *some, str(source)]) == 0
        told.append(json.loads(capsys.readouterr().out)["kinds"])
    assert told[0] == told[1] and told[0]


def test_a_text_of_ours(capture: Capture, tmp_path: Path) -> None:
    """With the owner lines that a report has."""
    whole = made(tmp_path / "ours.txt", "report", str(capture.core))
    made(tmp_path / "saved", "record", str(tmp_path / "ours.txt"))
    assert made(tmp_path / "again", "report", str(tmp_path / "saved")) == whole


def test_damaged_records(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be told from the columns is counted and said."""
    raw = text.read_bytes()
    cut = tmp_path / "cut.txt"
    cut.write_bytes(raw[:20_000] + b"\nPage allocated via order 0, garbage\n\n" + raw[-5000:])
    assert main(["record", "-o", str(tmp_path / "saved"), str(cut)]) == 4
    assert "damaged records are counted, but not kept" in capsys.readouterr().err
    assert main(["report", "-o", str(tmp_path / "out"), str(tmp_path / "saved")]) == 4


def test_a_list_of_stacks(capture: Capture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no records, but can be recorded and compared."""
    if not capture.has("page_owner_stacks.txt"):
        pytest.skip("this kernel has no list of stacks")
    listed, saved = tmp_path / "stacks.txt", tmp_path / "saved"
    listed.write_bytes(capture.read("page_owner_stacks.txt"))
    made(saved, "record", str(listed))
    assert not load_snapshot(saved).records.width
    capsys.readouterr()
    assert main(["diff", "--json", str(saved), str(listed)]) == 0
    assert json.loads(capsys.readouterr().out)["owners"] == {"grew": [], "shrank": []}
