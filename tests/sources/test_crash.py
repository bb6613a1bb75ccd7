# SPDX-License-Identifier: LGPL-2.1-or-later
"""Genuine kdumps: a guest that crashed, its raw /proc/vmcore, and what three makedumpfiles make of that."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from pageowner.commands import main
from pageowner.snapshot.tables import Snapshot, take_snapshot
from pageowner.sources.opening import open_core

crash = pytest.importorskip("lab.crash")

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64"),
]
FORMS = {
    "zlib": ("-c",),
    "lzo": ("-l",),
    "zstd": ("-z",),
    "plain": (),
    "flattened": ("-F", "-c"),
    "elf": ("-E",),
}
RIGHT = "1.7.8"
NOT_RIGHT = "makedumpfile 1.7.8, the newest, does not know 7.2 and drops slab pages: counted"


@pytest.fixture(scope="module", params=["7.2", "6.12", "6.1", "5.10"])
def raw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw memory of a crashed kernel."""
    from tests.conformance.worlds import existing

    existing(request.param)
    found: Path = crash.crash(request.param, tmp_path_factory.mktemp(request.param) / "vmcore")
    return found


@pytest.fixture(scope="module")
def whole(raw: Path) -> Snapshot:
    return take_snapshot(open_core(raw))


def dropped(raw: Path) -> bool:
    """Whether even the newest makedumpfile drops pages of structures of this kernel."""
    return raw.parent.name.startswith("7.2")


def made(raw: Path, version: str, form: str) -> Path:
    """A filtered dump, made once."""
    from lab import dumpfile

    path = raw.with_name(f"{form}-{version}")
    if not path.exists():
        dumpfile.dump(version, raw, path, "-d", "31", *FORMS[form])
    return path


def rows(snapshot: Snapshot) -> pl.DataFrame:
    return snapshot.owners.select("word", "owner", "pages").sort("word", "owner", "pages")


def report(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> bytes:
    assert main(["report", "--mappings", str(path)]) == 0
    return capfdbinary.readouterr().out


def test_a_crashed_kernel_is_whole(whole: Snapshot) -> None:
    assert not whole.partial and whole.coverage.unreadable == whole.coverage.structures == 0
    assert whole.coverage.scanned >= 1 << 16 and len(whole.owners) > 200


@pytest.mark.parametrize("form", FORMS)
def test_every_filtered_form_equals_the_raw_copy(raw: Path, whole: Snapshot, form: str) -> None:
    path = made(raw, RIGHT, form)
    assert path.stat().st_size < raw.stat().st_size / 2
    filtered = take_snapshot(open_core(path))
    if dropped(raw):
        assert filtered.partial and filtered.coverage.structures > 0, f"no longer so: {NOT_RIGHT}"
        pytest.xfail(NOT_RIGHT)
    assert rows(filtered).equals(rows(whole))
    assert not filtered.partial and any("are excluded from the dump" in line for line in filtered.remarks)


def test_so_does_the_report(raw: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    if dropped(raw):
        pytest.skip(NOT_RIGHT)
    text = report(raw, capfdbinary)
    assert text.count(b"\nMAPPED ") > 100
    assert report(made(raw, RIGHT, "zlib"), capfdbinary) == text


@pytest.mark.parametrize("version", ["1.7.2", "1.7.6"])
def test_older_versions_are_right_or_counted(raw: Path, whole: Snapshot, version: str) -> None:
    """By the bitmaps of the files: what the right version has and this one has not, but for a page or two
    that are no structure."""
    from lab.wrongfiles import compare

    if dropped(raw):
        pytest.skip(NOT_RIGHT)
    path = made(raw, version, "zlib")
    lacks = compare(path, made(raw, RIGHT, "zlib"))["lacks"]
    assert isinstance(lacks, list)
    filtered = take_snapshot(open_core(path))
    assert len(lacks) - 2 <= filtered.coverage.structures <= len(lacks)
    assert filtered.partial == bool(filtered.coverage.structures)
    assert sum(filtered.owners["pages"]) == sum(whole.owners["pages"])
    if not filtered.coverage.structures:
        assert rows(filtered).equals(rows(whole))
