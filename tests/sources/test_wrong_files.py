# SPDX-License-Identifier: LGPL-2.1-or-later
"""What makedumpfile 1.7.2 and 1.7.6 make of a crashed 6.12: opened, counted, and it is said what they lack.

The files are as these programs wrote them; how they differ from 1.7.8's was told from their bitmaps
(provenance.json, lab/wrongfiles.py), not by us.
"""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pageowner.commands import main
from pageowner.snapshot.tables import Snapshot, take_snapshot
from pageowner.sources.opening import open_core
from tests.conftest import FIXTURES

FOLDER = FIXTURES / "makedumpfile"
FACTS: dict[str, dict[str, Any]] = json.loads((FOLDER / "provenance.json").read_text())["files"]
LACKS = "excluded from the dump, so names are missing: makedumpfile before 1.7.8 does that to kernels since 6"


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for version in FACTS:
        found[version] = tmp_path_factory.mktemp(version) / "vmcore"
        with lzma.open(FOLDER / f"vmcore-{version}.xz") as packed, found[version].open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
    return found


@pytest.fixture(scope="module")
def snapshots(dumps: dict[str, Path]) -> dict[str, Snapshot]:
    return {version: take_snapshot(open_core(path), pages=True) for version, path in dumps.items()}


def words(snapshot: Snapshot) -> dict[str, int]:
    return dict(snapshot.owners.group_by("word").agg(pl.col("pages").sum()).iter_rows())


def test_both_are_there() -> None:
    assert set(FACTS) == {"1.7.2", "1.7.6"}


def test_dropped_slab_pages_are_counted(snapshots: dict[str, Snapshot]) -> None:
    """All that 1.7.2 dropped, but for pages that are no structure: each is known by its struct page."""
    found, lacks = snapshots["1.7.2"], FACTS["1.7.2"]["lacks"]
    runs = found.pages.filter(pl.col("word") == "SLAB_PAGE")
    slabs = {pfn for start, n in runs.select("pfn", "n").iter_rows() for pfn in range(start, start + n)}
    dropped = slabs & set(lacks)
    assert found.coverage.structures == len(dropped) >= 50
    assert len(lacks) - len(dropped) <= 2
    assert found.partial and found.coverage.unreadable == 0
    (remark,) = (line for line in found.remarks if LACKS in line)
    assert remark.startswith(f"{len(dropped)} pages of kernel structures are ")


def test_what_is_lost_with_them_is_names(snapshots: dict[str, Snapshot]) -> None:
    """The two files are of one crash: a page has the same kind in both, unless only a structure tells it."""
    wrong, whole = words(snapshots["1.7.2"]), words(snapshots["1.7.6"])
    assert sum(wrong.values()) == sum(whole.values())
    for word in ("FREE_PAGE", "PCP_FREE_PAGE", "SLAB_PAGE", "MEMMAP_PAGE", "PAGE_TABLE_PAGE", "FILE_PAGE"):
        assert wrong[word] == whole[word] > 0, word
    named = {v: set(s.owners.filter(pl.col("word") == "SLAB_PAGE")["owner"]) for v, s in snapshots.items()}
    assert {"dentry", "task_struct", "vm_area_struct"} <= named["1.7.2"] & named["1.7.6"]


def test_too_much_is_nothing_to_complain_of(snapshots: dict[str, Snapshot]) -> None:
    """1.7.6 leaves no free page out: a larger file, in which nothing is missing."""
    found = snapshots["1.7.6"]
    assert FACTS["1.7.6"]["lacks"] == [] and FACTS["1.7.6"]["has_more"] > 1000
    assert FACTS["1.7.6"]["has_more"] == words(found)["FREE_PAGE"]
    assert not found.partial and found.coverage.structures == 0
    assert [line for line in found.remarks if "missing" in line] == []


@pytest.mark.parametrize(("version", "status"), [("1.7.2", 4), ("1.7.6", 0)])
def test_commands_end_with_the_right_status(
    dumps: dict[str, Path], version: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["summary"], ["report", "--mappings", "-o", "/dev/null", "--force"]):
        assert main([*command, str(dumps[version])]) == status, command
        error = capsys.readouterr().err
        assert (LACKS in error) == (status == 4) and "Traceback" not in error, command
