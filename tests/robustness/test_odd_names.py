# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names in kernel memory may be any bytes, where the dump is damaged even those that the kernel chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pageowner.commands import main
from pageowner.kernel.target import Kernel

ODD = b"\xd2\x1b<"


@pytest.fixture
def odd_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name that is read in bulk ends oddly: of flags, caches, files, pools, zones, …"""
    whole = Kernel.read_strings

    def read_strings(kernel: Kernel, pointers: Any, limit: int = 256) -> list[str | None]:
        tail = ODD.decode("utf-8", "surrogateescape")
        return [None if name is None else name + tail for name in whole(kernel, pointers, limit)]

    monkeypatch.setattr(Kernel, "read_strings", read_strings)


@pytest.mark.usefixtures("odd_names")
def test_flags_come_out_byte_for_byte(tmp_path: Path) -> None:
    """As in the kernel's own text; in our own lines, such bytes are escaped."""
    assert main(["report", "--demo", "-o", str(tmp_path / "out")]) == 0
    out = (tmp_path / "out").read_bytes()
    assert b"(GFP_KERNEL" + ODD in out
    assert b"|swapbacked" + ODD in out
    assert b"SLAB_PAGE slab_name:dentry\\322\\033<\n" in out


@pytest.mark.usefixtures("odd_names")
@pytest.mark.parametrize("command", ["summary --json", "summary --by process", "html", "explain 0x2092"])
def test_commands_end_well(command: str, tmp_path: Path) -> None:
    assert main([*command.split(), "--demo", "-o", str(tmp_path / "out")]) == 0
    assert b"\xd2" not in (tmp_path / "out").read_bytes()
