# SPDX-License-Identifier: LGPL-2.1-or-later
"""Leaks of 2 MB in a guest under 50 MB of churn, recorded from outside: each is the first row of `diff`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64"),
]
LEAK = 2 << 20
# What leaks, the owner it belongs to, and a function of the stack that asked for it.
LEAKS = {
    "slab": ("SLAB_PAGE", "", "fcntl_setlk"),
    "pages": ("SOCKET_PAGE", "packet leak_pages", "packet_set_ring"),
    "cache": ("FILE_PAGE", "ext4 254:0 ino ", "ext4_da_write_begin"),
    "anon": ("ANON_PAGE", "leak_anon", "asm_exc_page_fault"),
}
STEPS = 4


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``0``; after each of LEAKS, named like it; then, while two of them go on, ``step1`` … ``step3``."""
    from lab.planted import Obedient

    out, work = tmp_path_factory.mktemp("snapshots"), tmp_path_factory.mktemp("guest")
    with Obedient(work, "6.12") as guest:
        guest.do("true")  # has booted
        record(guest.socket, out / "0")
        for number, kind in enumerate(LEAKS):
            guest.do(f"plant churn {number}")
            guest.do(f"plant {kind} {LEAK} & until [ -e /tmp/{kind}.1 ]; do sleep 0.1; done")
            record(guest.socket, out / kind)
        for step in range(1, STEPS):
            guest.do(f"plant churn {step + 10}")
            for kind in ("slab", "anon"):
                guest.do(f"kill -USR1 $(pidof leak_{kind})")
                guest.do(f"until [ -e /tmp/{kind}.{step + 1} ]; do sleep 0.1; done")
            record(guest.socket, out / f"step{step}")
    yield out


def record(address: Path, out: Path) -> None:
    command = ["record", "--qemu", str(address), "--pause", "-o", str(out)]
    done = subprocess.run([sys.executable, "-m", "pageowner", *command], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def diff(folder: Path, *names: str) -> Any:
    command = [sys.executable, "-m", "pageowner", "diff", "--json", *(str(folder / name) for name in names)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.parametrize("kind", LEAKS)
def test_the_leak_is_the_first_row(snapshots: Path, kind: str) -> None:
    before = ["0", *LEAKS][list(LEAKS).index(kind)]
    found = diff(snapshots, before, kind)
    word, owner, function = LEAKS[kind]
    first, top = found["owners"]["grew"][0], found["stacks"]["grew"][0]
    assert first["word"] == word and first["owner"].startswith(owner)
    assert function in first["stack"].split(" < ") and function in top["stack"].split(" < ")
    assert word in top["kinds"].split(", ")
    for row in (first, top):  # a slab cache is filled up first; the process has some pages of its own
        assert 0.95 * LEAK <= row["growth"] <= 1.1 * LEAK
    assert found["owners"]["grew"][1]["growth"] < LEAK / 2


def test_page_cache_read_meanwhile_is_named_apart(snapshots: Path) -> None:
    found = diff(snapshots, "0", "slab")
    assert 15 << 20 <= found["cache"] <= 20 << 20
    assert not any(row["growth"] > LEAK / 2 and row["word"] == "FILE_PAGE" for row in found["owners"]["grew"])


def test_what_grows_at_every_step_comes_first(snapshots: Path) -> None:
    """Four snapshots: both leaks before all that grew but once, however much that was."""
    found = diff(snapshots, "anon", *(f"step{step}" for step in range(1, STEPS)))
    for table in ("owners", "stacks"):
        rows = found[table]["grew"]
        assert [row["steady"] for row in rows] == sorted((row["steady"] for row in rows), reverse=True)
        leaks = rows[:2]
        for row in leaks:
            assert row["steady"] and 0.95 * 3 * LEAK <= row["growth"] <= 1.1 * 3 * LEAK
            assert all(b - a > 0.9 * LEAK for a, b in zip(row["bytes"], row["bytes"][1:], strict=False))
    assert {row["word"] for row in found["owners"]["grew"][:2]} == {"SLAB_PAGE", "ANON_PAGE"}
