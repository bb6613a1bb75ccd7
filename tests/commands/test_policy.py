# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever a command raises becomes one line and an exit status."""

from __future__ import annotations

import drgn
import pytest

from pageowner.commands.policy import guard
from pageowner.errors import PageownerError, SourceError


class PartialResult(PageownerError):
    exit_code = 4


def raising(error: BaseException):  # type: ignore[no-untyped-def]
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (SourceError("x is empty"), 1, "error: x is empty"),
        (PartialResult("half of it"), 4, "error: half of it"),
        (SourceError("a\nb\x1b[2J\x7f"), 1, "error: a\\012b\\033[2J\\177"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(2, "No such file", "gone"), 1, "error: gone: No such file"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device"),
        (MemoryError(), 1, "error: out of memory"),
        (drgn.FaultError("no such page", 0xFFFF1000), 1,
         "error: unreadable memory at 0xffff1000 (no such page: 0xffff1000)"),
        (ZeroDivisionError("x/0"), 1,
         "error: internal error (ZeroDivisionError: x/0); "
         "please report it, with what PAGEOWNER_DEBUG=1 shows"),
    ],
)  # fmt: skip
def test_one_line(
    error: BaseException, status: int, line: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("PAGEOWNER_DEBUG", raising=False)
    assert guard(raising(error)) == status
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"pageowner: {line}\n")


def test_debug_lets_the_traceback_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGEOWNER_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        guard(raising(ZeroDivisionError()))


def test_status_passes_through() -> None:
    assert guard(lambda: 4) == 4
