# SPDX-License-Identifier: LGPL-2.1-or-later
"""Captures of real kernels for the tests: the fixtures, or with ``--captures DIR`` fresh ones of the lab.

A capture is a directory named as its kernel version; lab/README.md says what is in it.
"""

from __future__ import annotations

import lzma
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("pageowner", deadline=None)
settings.load_profile("pageowner")

FIXTURES = Path(__file__).parent / "fixtures"
# Enough for what is done with tables, whatever kernel they are of (the marker two_kernels).
TWO_KERNELS = ("6.12", "6.1")


@dataclass(frozen=True)
class Capture:
    """One kernel: its memory (``core``, decompressed) and its own words (``read``)."""

    version: str
    dir: Path
    core: Path

    def read(self, name: str) -> bytes:
        """The contents of the capture's file ``name``, kept as it is or as ``name.xz``."""
        return _read(self.dir / name)

    def text(self, name: str) -> str:
        """The same as text; bytes that are no UTF-8 come as surrogates."""
        return self.read(name).decode("utf-8", "surrogateescape")

    @property
    def changes(self) -> int:
        """How many pages may have changed since the files were saved, beyond those whose records say so.

        Records tell when, so none; but those of 5.10 have no times. Without any the tests know better.
        """
        if not self.has("page_owner.txt"):
            return 0
        return 0 if b" ns\n" in self.read("page_owner.txt")[:400] else 32

    def has(self, name: str) -> bool:
        """Whether the capture has that file."""
        return any(path.is_file() for path in (self.dir / name, self.dir / f"{name}.xz"))

    def need_records(self) -> None:
        """Skip the test where the kernel recorded no allocations, or its text could not be taken."""
        if not self.has("page_owner.txt"):
            pytest.skip("this capture has no page_owner.txt: only that tells of allocations")


@cache
def _read(path: Path) -> bytes:
    if path.is_file():
        return path.read_bytes()
    with lzma.open(f"{path}.xz") as file:
        return file.read()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--big", type=Path, metavar="CORE", help="a core to time pictures on (make pictures)")
    parser.addoption(
        "--captures", type=Path, default=FIXTURES, metavar="DIR",
        help="run on the captures in DIR instead of those in tests/fixtures",
    )  # fmt: skip
    parser.addoption(
        "--flips", type=int, default=500, metavar="N",
        help="bit flips per capture that the command must survive (the lab runs 10000)",
    )  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that asks for a capture runs once per kernel."""
    if "capture_dir" in metafunc.fixturenames:
        directory = metafunc.config.getoption("--captures")
        found = capture_dirs(directory)
        if directory == FIXTURES and metafunc.definition.get_closest_marker("two_kernels"):
            found = [path for path in found if path.name in TWO_KERNELS]
        metafunc.parametrize("capture_dir", found, ids=[path.name for path in found], scope="session")


def capture_dirs(directory: Path) -> list[Path]:
    """The captures in a directory, newest kernel first."""
    found = [path.parent for name in ("core", "core.xz") for path in directory.glob(f"*/{name}")]
    return sorted(set(found), key=_version_key, reverse=True)


def _version_key(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.name.split(".")]


@pytest.fixture(scope="session")
def capture(capture_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Capture:
    """A capture, its core decompressed once per session."""
    plain = capture_dir / "core"
    if not plain.is_file():
        plain = tmp_path_factory.mktemp(capture_dir.name) / "core"
        with lzma.open(capture_dir / "core.xz") as packed, plain.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
    return Capture(capture_dir.name, capture_dir, plain)


@pytest.fixture(scope="session")
def core_path(capture: Capture) -> Path:
    """The capture's ELF core, decompressed."""
    return capture.core
