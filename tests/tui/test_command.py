"""The command: on a real (pseudo) terminal, without one, without textual."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from pageowner.commands import command_parser, main
from pageowner.tui.keys import KEYS

DOC = Path(__file__).parents[2] / "docs" / "top.md"
SECONDS = 120


class Terminal:
    """``pageowner top`` on a terminal of 80 x 24."""

    def __init__(self, *options: str, **environment: str) -> None:
        self.output = b""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
        self._master = master
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pageowner", "top", *options], stdin=slave, stdout=slave, stderr=slave,
            env=kept | {"TERM": "xterm-256color"} | environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def until(self, word: bytes) -> bytes:
        """What it writes until *word* is in it."""
        end = time.monotonic() + SECONDS
        while word not in self.output and time.monotonic() < end:
            if not self._read(1.0) and self.process.poll() is not None:
                break
        assert word in self.output, self.output[-2000:]
        return self.output

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def wait(self) -> int:
        end = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            self._read(0.2)
        while self._read(0.0):
            pass
        return self.process.wait(1)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: the other end is closed
            return False
        self.output += data
        return bool(data)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def colors(output: bytes) -> list[int]:
    """The parameters of all SGR sequences that set a colour."""
    found = []
    for sequence in re.findall(rb"\x1b\[([0-9;]*)m", output):
        numbers = [int(number) for number in sequence.split(b";") if number]
        while numbers:
            number = numbers.pop(0)
            if number in (38, 48):
                found.append(number)
                del numbers[: 2 if numbers[:1] == [5] else 4]
            elif 30 <= number <= 37 or 40 <= number <= 47 or number >= 90:
                found.append(number)
    return found


@pytest.mark.parametrize(
    ("environment", "options"), [({}, ()), ({"NO_COLOR": "1"}, ()), ({}, ("--color", "never"))]
)
def test_on_a_terminal(environment: dict[str, str], options: tuple[str, ...]) -> None:
    """It comes up, quits, and leaves the terminal as it was; without colour there is none, not even grey."""
    with Terminal("--demo", *options, **environment) as terminal:
        terminal.until(b"KERNEL_IMAGE_PAGE")
        terminal.press(b"q")
        assert terminal.wait() == 0
    assert b"\x1b[?1049l" in terminal.output and b"Traceback" not in terminal.output
    assert bool(colors(terminal.output)) == (not environment and not options)


def test_a_filter_and_a_grouping_from_the_command_line() -> None:
    with Terminal("--demo", "--by", "owner", "--kind", "slab", "--owner", "dent*") as terminal:
        terminal.until(b"dentry")
        assert b"--kind=slab" in terminal.output and b"task_struct" not in terminal.output
        terminal.press(b"q")
        assert terminal.wait() == 0


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """Before the screen is taken."""
    with Terminal("--qemu", str(tmp_path / "none")) as terminal:
        assert terminal.wait() == 1
    assert terminal.output.startswith(b"pageowner: error: cannot connect to ")
    assert terminal.output.count(b"\n") == 1 and b"\x1b" not in terminal.output


def test_a_module_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child takes modules from where its parent does, and from nowhere else."""
    (tmp_path / "drgn.py").write_text("raise SystemExit('not me')")
    monkeypatch.chdir(tmp_path)
    from pageowner.tui.client import Client
    from pageowner.tui.protocol import Setup
    from tests.tui.conftest import DEMO

    client = Client(Setup((DEMO,)))
    assert client.start().live is False
    client.close()


def test_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--demo"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pageowner: error: 'pageowner top' needs a terminal") and error.count("\n") == 1


def test_without_textual(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pageowner.commands.top._check_terminal", lambda: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["top", "--demo"]) == 1
    assert capsys.readouterr().err == (
        "pageowner: error: 'pageowner top' needs textual: pip install 'pageowner[tui]'\n"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-i", "0"], "'0' is no interval"),
        (["-i", "nan"], "'nan' is no interval"),
        (["a", "--demo"], "name different sources"),
        (["-"], "standard input is the keyboard here"),
        (["--pause", "--demo"], "--pause stops a guest"),
        (["--kind", ""], "a GLOB has 1 to"),
    ],
)
def test_usage(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_the_groupings_on_the_command_line_are_all() -> None:
    from pageowner.analyses.watch import GROUPS

    (by,) = [action for action in command_parser("top")._actions if action.dest == "by"]
    assert list(by.choices or ()) == list(GROUPS)


def test_the_document_has_every_key() -> None:
    rows = re.findall(r"^\| `(.+)` \| (.+) \|$", DOC.read_text(), re.MULTILINE)
    assert [row for row in rows if row[0] != "Up Down k j"] == [(key.shows, key.help) for key in KEYS]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_ended_by_a_signal(number: signal.Signals) -> None:
    """The terminal comes back if that can be, and the child ends, too."""
    with Terminal("--demo") as terminal:
        terminal.until(b"KERNEL_IMAGE_PAGE")
        pid = terminal.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        terminal.process.send_signal(number)
        status = terminal.wait()
        if number == signal.SIGKILL:
            assert status == -number
        else:
            assert status == 128 + number and b"\x1b[?1049l" in terminal.output
        end = time.monotonic() + SECONDS
        while any(map(_lives, children)) and time.monotonic() < end:
            time.sleep(0.1)
        assert children and not any(map(_lives, children))


def _lives(pid: str) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
