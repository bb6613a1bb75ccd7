# SPDX-License-Identifier: LGPL-2.1-or-later
"""``pageowner record`` as a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from pageowner.commands import main
from tests.conftest import Capture


def test_record_and_what_it_says_next(
    capture: Capture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "snap"
    assert main(["record", "-o", str(target), str(capture.core)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and f"pageowner summary {target}\n" in captured.err
    assert main(["summary", str(target), "--json"]) == 0
    of_snapshot = capsys.readouterr().out
    assert main(["summary", str(capture.core), "--json"]) == 0
    assert capsys.readouterr().out == of_snapshot
    assert main(["summary", "--by", "process", str(target)]) == 0


def test_what_stands_in_the_way_is_said_before_the_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for force, line in (
        ([], f"{tmp_path} exists; use -f to overwrite it, or another name"),
        (["-f"], f"{tmp_path} is no snapshot: it is not overwritten"),
    ):
        assert main(["record", "-o", str(tmp_path), "no core", *force]) == 1
        assert capsys.readouterr().err == f"pageowner: error: {line}\n"


def test_no_directory_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--demo"]) == 2
    assert "required: -o/--output" in capsys.readouterr().err
