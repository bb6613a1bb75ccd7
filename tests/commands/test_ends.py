# SPDX-License-Identifier: LGPL-2.1-or-later
"""How whole commands end: one line, the right status, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from pageowner.commands import main
from tests.commands.lines import COMMAND_LINES
from tests.elfwriter import core

LIVE = (
    "there is no /nowhere/kcore: the kernel lacks CONFIG_PROC_KCORE, or this container hides it; "
    "run on the host, or read a core dump with -c"
)


@pytest.fixture(params=COMMAND_LINES, ids=lambda line: line[0])
def command(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error; nothing is on standard output."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("pageowner: error: ")
    return line.removeprefix("pageowner: error: ")


def test_no_source(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No source is the running kernel."""
    monkeypatch.setattr("pageowner.sources.live.KCORE", "/nowhere/kcore")
    monkeypatch.setattr("pageowner.sources.live._be_modest", lambda: None)
    assert main(command) == 1
    assert error_line(capsys) == LIVE


def test_an_empty_core(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "vmcore"
    empty.touch()
    for argv in ([str(empty)], ["-c", str(empty)]):
        assert main([*command, *argv]) == 1
        assert error_line(capsys) == f"{empty} is empty; was the dump cut short, or the disk full?"


def test_a_core_without_kallsyms_and_btf(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vmcore = tmp_path / "vmcore"
    vmcore.write_bytes(core())
    assert main([*command, str(vmcore), "-o", str(tmp_path / "out")]) == 1
    assert "internal error" not in error_line(capsys)
    assert list(tmp_path.iterdir()) == [vmcore]


def test_an_existing_output_file_comes_first(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    target.write_text("precious")
    assert main([*command, str(tmp_path / "no core"), "-o", str(target)]) == 1
    assert error_line(capsys) == f"{target} exists; use -f to overwrite it, or another name"
    assert target.read_text() == "precious"


def test_a_name_cannot_write_to_the_terminal(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "a\x1b]0;b\n"]) == 1
    assert error_line(capsys) == "cannot open a\\033]0;b\\012: No such file or directory"
