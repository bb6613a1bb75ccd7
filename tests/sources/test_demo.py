# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demo core's cache: made once, never half, never needed."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from pageowner.errors import SourceError
from pageowner.sources import demo
from tests.elfwriter import core


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a demo core, and an empty cache."""
    (tmp_path / "package" / "data").mkdir(parents=True)
    monkeypatch.setattr(demo, "files", lambda _: tmp_path / "package")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "package" / "data" / "demo.core.xz"
    path.write_bytes(lzma.compress(core()))
    return path


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "pageowner").iterdir())


def test_it_is_decompressed_once(packed: Path, tmp_path: Path) -> None:
    assert demo.open_demo().prog.read(0x1000, 8, True) == bytes(8)
    (copy,) = cached(tmp_path)
    assert copy.read_bytes() == core()
    before = copy.stat().st_mtime_ns
    assert demo.open_demo().path == copy
    assert copy.stat().st_mtime_ns == before


def test_another_core_gets_another_name(packed: Path, tmp_path: Path) -> None:
    demo.open_demo()
    packed.write_bytes(lzma.compress(core() + b"more"))
    demo.open_demo()
    assert len(cached(tmp_path)) == 2


def test_no_cache_is_needed(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    assert not demo.open_demo().truncated


def test_a_damaged_package_says_so(packed: Path, tmp_path: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(SourceError, match=r"demo\.core\.xz: the xz data is damaged .*; reinstall pageowner"):
        demo.open_demo()
    assert cached(tmp_path) == []


def test_without_a_demo_core(packed: Path) -> None:
    packed.unlink()
    with pytest.raises(
        SourceError, match="this installation carries no demo core; reinstall, or give a core"
    ):
        demo.open_demo()
