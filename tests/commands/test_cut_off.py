# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cores of real kernels that were cut off: partial as long as it goes, one line and status 1 beyond."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pageowner.commands import main
from tests.commands.lines import COMMAND_LINES
from tests.conftest import Capture


@pytest.fixture(params=COMMAND_LINES, ids=lambda line: line[0])
def command(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


def cut(capture: Capture, tmp_path: Path, size: int) -> Path:
    path = tmp_path / "vmcore"
    with capture.core.open("rb") as whole, path.open("wb") as part:
        shutil.copyfileobj(whole, part)
        part.truncate(size)
    return path


def test_the_last_page_is_missing(
    capture: Capture, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cut(capture, tmp_path, capture.core.stat().st_size - 4096)
    assert main([*command, str(path), "-o", str(tmp_path / "out")]) == 4
    assert f"pageowner: {path}: is cut off: 4096 bytes of memory are missing\n" in capsys.readouterr().err
    assert ((tmp_path / "out").stat().st_size > 0) == (command[0] != "check") or command[0] == "diff"


@pytest.mark.parametrize("percent", [97, 90, 60, 20, 2])
def test_much_is_missing(
    capture: Capture, percent: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cut(capture, tmp_path, capture.core.stat().st_size * percent // 100)
    status = main(["summary", str(path), "-o", str(tmp_path / "out")])
    captured = capsys.readouterr()
    assert status in (1, 4) and captured.out == ""
    assert (tmp_path / "out").exists() == (status == 4)
    lines = captured.err.splitlines()
    assert lines and all(line.startswith("pageowner: ") and "internal error" not in line for line in lines)
    assert status == 4 or len(lines) == 1
