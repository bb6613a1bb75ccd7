# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shared option bundles."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import pytest

from pageowner.commands import command_parser
from pageowner.commands.options import pfn_range, selection, use_color
from pageowner.sources.selection import SourceSelection


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], SourceSelection("kernel")),
        (["-k"], SourceSelection("kernel")),
        (["vmcore"], SourceSelection("path", path=Path("vmcore"))),
        (["--mappings", "vmcore"], SourceSelection("path", path=Path("vmcore"))),
        (["-"], SourceSelection("path", path=Path("-"))),
        (["-c", "vmcore"], SourceSelection("core", path=Path("vmcore"))),
        (["--qemu", "sock"], SourceSelection("qemu", address="sock")),
        (["--demo"], SourceSelection("demo")),
        (["--demo", "-s", "vmlinux"], SourceSelection("demo", symbols=Path("vmlinux"))),
    ],
)
def test_selection(argv: list[str], expected: SourceSelection) -> None:
    assert selection(command_parser("report").parse_args(argv)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", (7, 7)),
        ("0x10", (16, 16)),
        ("256-511", (256, 511)),
        ("0x100-0x1FF", (256, 511)),
        ("9-0xa", (9, 10)),
    ],
)
def test_pfn_range(text: str, expected: tuple[int, int]) -> None:
    assert pfn_range(text) == expected


@pytest.mark.parametrize(
    "text", ["", "-", "-5", "5-", "a", "0x", "1_0", " 1", "+1", "1-2-3", "2-1", str(1 << 52)]
)
def test_pfn_range_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        pfn_range(text)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert use_color("auto", Terminal())
    assert not use_color("auto", io.StringIO())
    assert use_color("always", io.StringIO())
    assert not use_color("never", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not use_color("auto", Terminal())
    assert use_color("always", Terminal())
