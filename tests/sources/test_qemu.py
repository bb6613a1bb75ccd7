# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU guests: what cannot be connected to says so in one line; a real guest reads like its core."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pageowner.commands import main
from pageowner.errors import SourceError
from pageowner.sources.qmp import Qmp

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


@contextlib.contextmanager
def server(path: Path, *lines: bytes) -> Iterator[str]:
    """A socket whose first client gets the first line at once, and one more per line that it sends."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(4)

    def serve() -> None:
        with contextlib.suppress(OSError):
            link, _ = listening.accept()
            with link, link.makefile("rb") as requests:
                for line in lines:
                    link.sendall(line)
                    if not requests.readline():
                        return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield str(path)
    listening.close()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((b"SSH-2.0-OpenSSH\r\n",), "is no QMP socket; start QEMU with '-qmp unix:PATH,server=on,wait=off'"),
        ((b"",), "accepts but does not greet: another program is connected to it"),
    ],
)
def test_what_is_no_qmp_says_so(
    tmp_path: Path, lines: tuple[bytes, ...], words: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("pageowner.sources.qmp._SECONDS", 0.3)
    with server(tmp_path / "qmp", *lines) as address:
        assert main(["summary", "--qemu", address]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"pageowner: error: {address} {words}") and error.count("\n") == 1


@pytest.mark.parametrize("address", ["{tmp}/nothing", "{tmp}", "localhost:1", "localhost:99999", "/x" * 99])
def test_nobody_there_is_one_line(tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    address = address.format(tmp=tmp_path)
    assert main(["summary", "--qemu", address]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"pageowner: error: cannot connect to {address}: ") and error.count("\n") == 1
    assert "is QEMU running, with '-qmp unix:PATH,server=on,wait=off'?" in error


def test_events_between_are_passed_over(tmp_path: Path) -> None:
    answer = b'{"event": "STOP", "data": {}}\r\n{"return": {"running": true}}\r\n{"event": "RESUME"}\r\n'
    with server(tmp_path / "qmp", GREETING, answer) as address:
        qmp = Qmp(address)
        assert qmp.socket.recv(len(GREETING)) == GREETING
        assert qmp.command("query-status") == {"running": True}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b'{"error": {"desc": "no such thing"}}\r\n', "refuses 'stop': no such thing"),
        (b"rubbish\r\n", "does not answer 'stop'"),
        (b"[1]\r\n", "does not answer 'stop'"),
    ],
)
def test_a_refusal_is_one_line(tmp_path: Path, answer: bytes, words: str) -> None:
    with server(tmp_path / "qmp", GREETING, answer) as address:
        qmp = Qmp(address)
        qmp.socket.recv(len(GREETING))
        with pytest.raises(SourceError) as caught:
            qmp.command("stop")
    assert str(caught.value).startswith(f"{address}: QEMU {words}")


def test_pause_is_for_guests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--demo", "--pause"]) == 2
    assert "--pause stops a guest: it goes with --qemu" in capsys.readouterr().err


def printed(*argv: str) -> bytes:
    """What the command prints, in a process of its own: the connection ends with it."""
    done = subprocess.run([sys.executable, "-m", "pageowner", *argv], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.lab
@pytest.mark.parametrize("device", [True, False], ids=["vmcoreinfo", "bare"])
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64")
def test_a_guest_reads_like_its_core(tmp_path: Path, device: bool) -> None:
    """The same stopped guest by QMP and by its core: byte for byte; --pause lets it run again."""
    from lab import guests

    with guests.idle(tmp_path, "6.12", device=device) as guest:
        address = str(guest.socket)
        for command in (["summary", "--json"], ["report", "--mappings"]):
            assert printed(*command, "--qemu", address, "--pause")
        guest.dump(tmp_path / "core")  # stops it
        for command in (["summary", "--json"], ["report", "--mappings"]):
            assert printed(*command, "--qemu", address) == printed(*command, str(tmp_path / "core"))
        coverage = json.loads(printed("summary", "--json", "--qemu", address))["coverage"]
        assert coverage["changed"] == coverage["unreadable"] == 0
