# SPDX-License-Identifier: LGPL-2.1-or-later
"""The running kernel: who may not read it gets one line; what passes through sudo; a scan inside a guest."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from pageowner.errors import SourceError
from pageowner.sources import live, sudo


def refuse(number: int):  # type: ignore[no-untyped-def]
    def open_(*_: object) -> int:
        raise OSError(number, os.strerror(number), live.KCORE)

    return open_


def line() -> str:
    with pytest.raises(SourceError) as caught:
        live.open_kcore()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_kcore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", refuse(2))
    assert line().startswith("there is no /proc/kcore: the kernel lacks CONFIG_PROC_KCORE, or this container")


@pytest.mark.parametrize(
    ("lockdown", "capable", "words"),
    [
        ("confidentiality", True, "the kernel is locked down (confidentiality), so nobody may read"),
        ("none", False, "root of this container may not read /proc/kcore (CAP_SYS_RAWIO is missing)"),
        (None, True, "/proc/kcore may not be opened, even by root; a security module forbids it"),
    ],
)
def test_root_is_refused(
    monkeypatch: pytest.MonkeyPatch, lockdown: str | None, capable: bool, words: str
) -> None:
    monkeypatch.setattr(os, "open", refuse(1))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(live, "lockdown", lambda: lockdown)
    monkeypatch.setattr(live, "has_capability", lambda _: capable)
    assert line().startswith(words)


def test_an_ordinary_user_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", refuse(13))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sudo, "can_ask", lambda: False)
    assert line().startswith("reading the running kernel needs root: sudo ")


@pytest.mark.parametrize("hidden", ["/dev/null", "empty"])
def test_a_container_hides_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hidden: str) -> None:
    (tmp_path / "empty").touch()
    monkeypatch.setattr(live, "KCORE", str(tmp_path / hidden) if hidden == "empty" else hidden)
    assert "is hidden by this container" in line()


def test_a_sick_host_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "mem_available", lambda: 100 << 20)
    with pytest.raises(SourceError) as caught:
        live.open_live()
    assert str(caught.value).startswith("only 100 MiB of memory are available: reading this host now could")


def fake_sudo(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A ``sudo`` that drops its own options and does *body*."""
    program = folder / "sudo"
    program.write_text(f"#!/bin/sh\nshift 3\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.skipif(os.geteuid() != 0, reason="the helper must run as root")
def test_sudo_passes_the_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sudo(tmp_path, monkeypatch, 'exec "$@"')
    (tmp_path / "file").write_text("secret")
    fd = sudo.open_as_root(str(tmp_path / "file"))
    with os.fdopen(fd) as file:
        assert file.read() == "secret"
    with pytest.raises(FileNotFoundError):
        sudo.open_as_root(str(tmp_path / "nothing"))


def test_a_wrong_password_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sudo(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(SourceError, match="sudo did not open /proc/kcore"):
        sudo.open_as_root("/proc/kcore")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_only_root_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else who answers on the socket is not listened to."""
    body = "import os, socket, sys; os.setuid(65534); exec(sys.argv.pop(1))"
    # The socket lies in a folder that only its owner may enter: the fake opens it.
    opened = 'chmod 777 "$6" "$(dirname "$6")"'
    script = f"""{opened}; python=$1; code=$5; shift 5; exec "$python" -c '{body}' "$code" "$@\""""
    fake_sudo(tmp_path, monkeypatch, script)
    with pytest.raises(SourceError, match="not root, but user 65534 answered"):
        sudo.open_as_root("/etc/passwd")


SCRIPT = """
export PYTHONPATH={src} PYTHONDONTWRITEBYTECODE=1
for round in 1 2; do
    {python} -m pageowner summary --json > /tmp/work/summary.$round 2> /tmp/work/remarks.$round
    echo $? > /tmp/work/status.$round
done
"""


@pytest.mark.lab
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64")
@pytest.mark.parametrize(("words", "most"), [("", 0.001), ("lab_busy=1", 0.05)], ids=["idle", "busy"])
def test_inside_a_guest(tmp_path: Path, words: str, most: float) -> None:
    """No traceback, no hang; on an idle guest fewer than 0.1 % of pages count as changed."""
    from lab import guests

    src = Path(live.__file__).parent.parent.parent
    script = SCRIPT.format(src=src, python=sys.executable)
    guests.running(tmp_path, "6.12", script, words=f"page_owner=on {words}")
    for number in (1, 2):
        remarks = (tmp_path / f"remarks.{number}").read_text()
        assert (tmp_path / f"status.{number}").read_text() == "0\n", remarks
        document = json.loads((tmp_path / f"summary.{number}").read_text())
        coverage = document["coverage"]
        assert coverage["unreadable"] == 0 and coverage["scanned"] == 1 << 18
        # The first scan brings our own modules into the page cache.
        assert number == 1 or coverage["changed"] <= most * coverage["scanned"]
        assert "own cost: " in remarks
