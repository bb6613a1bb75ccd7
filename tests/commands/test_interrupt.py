# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ctrl-C at any time: what was read so far, said to be partial, status 130; the bar while there is time."""

from __future__ import annotations

import io
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pageowner.commands import main, watching
from pageowner.snapshot.scan import Scan, SectionScan
from tests.conftest import FIXTURES


@pytest.fixture
def interrupted_at_the_second_section(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = Scan.section, []

    def section(scan: Scan, which: object) -> SectionScan:
        calls.append(which)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return whole(scan, which)  # type: ignore[arg-type]

    monkeypatch.setattr(Scan, "section", section)


@pytest.fixture(scope="module")
def core_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One core is enough: what is tested here is the same for all kernels."""
    path = tmp_path_factory.mktemp("core") / "core"
    with lzma.open(FIXTURES / "6.12" / "core.xz") as packed, path.open("wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)
    return path


@pytest.mark.usefixtures("interrupted_at_the_second_section")
def test_summary_shows_what_was_read(core_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--json", str(core_path)]) == 130
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert document["partial"] is True
    assert document["coverage"]["scanned"] == sum(kind["pages"] for kind in document["kinds"]) == 2 << 15
    assert document["counters"] == []
    assert "pageowner: interrupted: 65536 of 98304 pages were read" in err


@pytest.mark.usefixtures("interrupted_at_the_second_section")
def test_report_ends_with_a_whole_record(core_path: Path, tmp_path: Path) -> None:
    assert main(["report", str(core_path), "-o", str(tmp_path / "part")]) == 130
    part = (tmp_path / "part").read_bytes()
    assert main(["report", str(core_path), "-o", str(tmp_path / "whole")]) == 0
    whole = (tmp_path / "whole").read_bytes()
    assert 1000 < len(part) < len(whole) and whole.startswith(part) and part.endswith(b"\n\n")


@pytest.mark.usefixtures("interrupted_at_the_second_section")
def test_record_writes_nothing(core_path: Path, tmp_path: Path) -> None:
    assert main(["record", str(core_path), "-o", str(tmp_path / "snapshot")]) == 130
    assert list(tmp_path.iterdir()) == []


def test_the_second_one_ends_it_at_once(core_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def section(scan: Scan, which: object) -> SectionScan:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second signal must not come back")

    monkeypatch.setattr(Scan, "section", section)
    assert main(["summary", str(core_path)]) == 130


@pytest.mark.parametrize("command", ["summary", "report"])
@pytest.mark.parametrize("library", ["_drgn.", "polars"])
@pytest.mark.parametrize("delay", [0.0, 0.4])
def test_a_real_process(command: str, library: str, delay: float, core_path: Path) -> None:
    """Interrupted when it has just loaded a library, and somewhat later."""
    line = [sys.executable, "-m", "pageowner", command, str(core_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert has_loaded(process, library)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert b"Traceback" not in err and (b"interrupted" in err or process.returncode in (0, 130))
    assert process.returncode in ((130, 0) if delay else (130,))
    assert not out or out.endswith(b"\n")


def has_loaded(process: subprocess.Popen[bytes], library: str) -> bool:
    """Wait until *process* has loaded *library*; False when it ends before."""
    while process.poll() is None:
        if library in Path(f"/proc/{process.pid}/maps").read_text():
            return True
        time.sleep(0.005)
    return False


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar(core_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    terminal = Terminal()
    monkeypatch.setattr(watching, "PATIENCE", -1.0)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    assert main(["summary", str(core_path), "-o", str(tmp_path / "out")]) == 0
    assert "reading pages" in terminal.getvalue() and "100%" in terminal.getvalue()


def test_a_file_sees_none(
    core_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "PATIENCE", -1.0)
    assert main(["summary", str(core_path)]) == 0
    assert capfd.readouterr().err == ""
