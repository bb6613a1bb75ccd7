# SPDX-License-Identifier: LGPL-2.1-or-later
"""The running kernel: who may not read it gets one line; what passes through sudo; a scan inside a guest."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pageowner.errors import SourceError
from pageowner.sources import live, machine, sudo


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


needs_guest = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64"),
]
SRC = Path(live.__file__).parent.parent.parent
IDLE = """
for round in 1 2; do
    {python} -m pageowner summary --json > /tmp/work/summary.$round 2> /tmp/work/remarks.$round
    echo $? > /tmp/work/status.$round
done
"""
BUSY = """
echo 96M > /sys/block/zram0/disksize && mkswap -q /dev/zram0 && swapon /dev/zram0 || exit 1
{python} {rounds} {count} /tmp/work/rounds /tmp/work/busy
for command in "summary" "report --mappings" "check"; do
    {python} -m pageowner $command > /tmp/printed 2> "/tmp/work/remarks.$command"
    echo $? > "/tmp/work/status.$command"
done
cp /proc/vmstat /tmp/work
"""
ROUNDS = 20
# A machine that does nothing else needs a tenth of it.
SECONDS = 7200


@needs_guest[0]
@needs_guest[1]
def test_the_guest_reckons_right(tmp_path: Path) -> None:
    """What the tests below see is worth nothing where QEMU emulates sorts and sums wrongly."""
    from lab import guest_python, guests

    script = f"{sys.executable} {Path(__file__).with_name('arithmetic.py')}\n"
    output = guests.running(tmp_path, "6.12", guest_python.environment(SRC) + script)
    assert re.match(r"checked \d{4} wrong 0\n", output), output


@needs_guest[0]
@needs_guest[1]
def test_an_idle_guest(tmp_path: Path) -> None:
    """Fewer than 0.1 % of its pages count as changed."""
    from lab import guest_python, guests

    guests.running(tmp_path, "6.12", guest_python.environment(SRC) + IDLE.format(python=sys.executable))
    for number in (1, 2):
        remarks = (tmp_path / f"remarks.{number}").read_text()
        assert (tmp_path / f"status.{number}").read_text() == "0\n", remarks
        document = json.loads((tmp_path / f"summary.{number}").read_text())
        coverage = document["coverage"]
        assert coverage["unreadable"] == 0 and coverage["scanned"] == 1 << 18
        # The first scan brings our own modules into the page cache.
        assert number == 1 or coverage["changed"] < 0.001 * coverage["scanned"]
        assert "own cost: " in remarks


@needs_guest[0]
@needs_guest[1]
@pytest.mark.parametrize("version", ["6.12", "6.1"])
def test_scans_in_a_row_while_memory_changes(tmp_path: Path, version: str) -> None:
    """No traceback, no hang; what pagemap shows at the same place before and after is right, and counts."""
    from lab import guest_python, guests, initramfs

    busy = initramfs.HERE / "guest" / "busy.c"
    subprocess.run(["gcc", *initramfs.CFLAGS, "-o", str(tmp_path / "busy"), str(busy)], check=True)
    rounds = Path(__file__).with_name("live_rounds.py")
    script = BUSY.format(python=sys.executable, rounds=rounds, count=ROUNDS)
    script = guest_python.environment(SRC) + script
    output = guests.running(tmp_path, version, script, mib=768, seconds=SECONDS)
    lines = [json.loads(line) for line in (tmp_path / "rounds").read_text().splitlines()]
    assert len(lines) == ROUNDS, output
    for line in lines:
        assert "traceback" not in line, line["traceback"]
        assert (line["wrong"], line["steady_but_changed"]) == (0, 0), line["examples"]
        assert line["failed"] == [] and line["unreadable"] == 0
        # Memory does change, and yet most of it can be compared.
        assert 2000 < line["steady"] < line["pages"]
    assert sum(line["changed"] for line in lines) > 0
    for command in ("summary", "report --mappings", "check"):
        remarks = (tmp_path / f"remarks.{command}").read_text()
        assert "Traceback" not in remarks and "error:" not in remarks
        status = (tmp_path / f"status.{command}").read_text()
        if command == "check" and status == "3\n":  # what a page's user changes without becoming another
            assert "believe what a second run finds again" in remarks
        else:
            assert status == "0\n", remarks
    events = dict(line.split() for line in (tmp_path / "vmstat").read_text().splitlines())
    assert int(events["pswpin"]) > 0 and int(events["pswpout"]) > 0, "nothing was swapped"


@needs_guest[0]
@needs_guest[1]
def test_refusals_inside_a_guest(tmp_path: Path) -> None:
    """Where there is a /proc/kcore: an ordinary user, a container that hides it, root without the right."""
    from lab import guest_python, guests

    tests = Path(__file__).with_name("test_refusals.py")
    script = f"cd {SRC.parent} && {sys.executable} -m pytest -q -p no:cacheprovider {tests}\n"
    script = guest_python.environment(SRC) + script
    output = guests.running(tmp_path, "6.12", script, mib=768, seconds=SECONDS)
    assert "passed" in output and "failed" not in output and "skipped" not in output, output


@needs_guest[0]
@needs_guest[1]
@pytest.mark.parametrize("mode", ["confidentiality", "integrity"])
def test_a_kernel_that_is_locked_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """What a distribution's kernel says then, and what we make of these very words."""
    from lab import guests, stock

    image = stock.get("6.12-cloud").image
    said = guests.console(tmp_path, image, "lockdown", f"lockdown={mode}")
    found = dict(re.findall(r"^LAB (lockdown|CapEff:|kcore)\s+(.*?)\r?$", said, re.M))
    (tmp_path / "lockdown").write_text(found["lockdown"] + "\n")
    (tmp_path / "status").write_text(f"CapEff:\t{found['CapEff:']}\n")
    assert machine.lockdown(tmp_path / "lockdown") == mode
    assert machine.has_capability(machine.CAP_SYS_RAWIO, tmp_path / "status")
    if mode == "integrity":
        assert "records in" in found["kcore"]
        return
    assert "Operation not permitted" in found["kcore"]
    monkeypatch.setattr(os, "open", refuse(1))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(live, "lockdown", lambda: machine.lockdown(tmp_path / "lockdown"))
    assert line().startswith("the kernel is locked down (confidentiality), so nobody may read /proc/kcore")
