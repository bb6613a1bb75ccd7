# SPDX-License-Identifier: LGPL-2.1-or-later
"""What cannot be read gives one line and status 1: seen for real, on the machine that the tests run on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pageowner.commands import main
from tests.elfwriter import core
from tests.sources.kdumpwriter import elf_note, elf_pages, kdump

KCORE = Path("/proc/kcore")
# Everything is imported before this process becomes somebody who may not even read our files.
BECOME = """
import os, sys
from pageowner.commands import main
main(["summary", "--demo", "-o", "/dev/null", "--force"])
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(main(["summary"]))
"""
# The same somebody, to whom sudo gave the descriptor: what sudo itself does is in test_live.py.
GIVEN = """
import os, sys
from pageowner.commands import main
from pageowner.sources import sudo
main(["summary", "--demo", "-o", "/dev/null", "--force"])
given = os.open("/proc/kcore", os.O_RDONLY)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sudo.can_ask, sudo.open_as_root = lambda: True, lambda path: given
sys.exit(main(["summary"]))
"""
for_root = pytest.mark.skipif(
    os.geteuid() != 0 or not KCORE.is_file(), reason="needs root and a kernel with /proc/kcore"
)


def refused(*line: str) -> str:
    """The one line that the command ends with."""
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("pageowner: error: ")


def works(*line: str) -> bool:
    """Whether a command can be used here."""
    found = shutil.which(line[0]) is not None
    return found and subprocess.run(line, capture_output=True, check=False).returncode == 0


@for_root
def test_an_ordinary_user() -> None:
    assert refused(sys.executable, "-c", BECOME).startswith("reading the running kernel needs root: sudo ")


@for_root
def test_an_ordinary_user_with_the_descriptor() -> None:
    line = [sys.executable, "-c", GIVEN]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "KERNEL_IMAGE_PAGE" in done.stdout and "ANON_PAGE" in done.stdout
    assert "Traceback" not in done.stderr and "own cost: " in done.stderr


@for_root
def test_a_container_that_hides_kcore() -> None:
    script = 'mount --bind /dev/null /proc/kcore && exec "$@"'
    start = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if not works(*start, "true"):
        pytest.skip("no mount namespace can be made here")
    line = refused(*start, sys.executable, "-m", "pageowner", "summary")
    assert line.startswith("/proc/kcore is hidden by this container; run on the host, or let the container")


@for_root
def test_root_without_the_capability() -> None:
    start = ["setpriv", "--bounding-set", "-sys_rawio", "--inh-caps", "-sys_rawio"]
    if not works(*start, "true"):
        pytest.skip("no setpriv that works here")
    line = refused(*start, sys.executable, "-m", "pageowner", "summary")
    assert line.startswith("root of this container may not read /proc/kcore (CAP_SYS_RAWIO is missing)")


@pytest.mark.parametrize("machine", [(183, b"\x7fELF\2\1\1", "AArch64"), (22, b"\x7fELF\2\2\1", "s390x")])
@pytest.mark.parametrize("command", [["summary"], ["report"], ["check"], ["explain", "0x1000"]], ids=" ".join)
def test_a_core_of_another_machine(
    tmp_path: Path,
    machine: tuple[int, bytes, str],
    command: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    number, ident, name = machine
    (tmp_path / "core").write_bytes(core(machine=number, ident=ident))
    assert main([*command, "-c", str(tmp_path / "core")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"pageowner: error: {tmp_path}/core is a core of another architecture ({name}); "
        "this version reads x86-64 only\n"
    )


def test_a_kdump_of_another_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = core()
    names = (b"Linux", b"", b"6.1", b"", b"s390x", b"")
    (tmp_path / "dump").write_bytes(kdump(elf_pages(whole), elf_note(whole), utsname=names))
    assert main(["summary", str(tmp_path / "dump")]) == 1
    assert "is a dump of another architecture (s390x)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("text", ["check"]),
        ("text", ["explain", "0x1000"]),
        ("text", ["layers"]),
        ("snapshot", ["check"]),
        ("snapshot", ["layers"]),
    ],
)
def test_what_has_no_memory_in_it(
    tmp_path: Path, command: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / kind
    if kind == "text":
        path.write_text("Page allocated via order 0, mask 0xcc0(GFP_KERNEL), pid 1, ts 1 ns\nPFN 1\n\n")
    else:
        path.mkdir()
        (path / "manifest.json").write_text("{}")
    assert main([*command, str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    named = "a page_owner text" if kind == "text" else "a snapshot"
    assert captured.err.startswith(
        f"pageowner: error: {path} is {named}: the memory itself is not in it; give a core dump, or use "
    )
