# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rules of snapshots on disk: whole or not at all, old ones load, damage is one clear line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from pageowner.commands import main
from pageowner.errors import PageownerError, SourceError
from pageowner.snapshot import store
from pageowner.snapshot.fields import RECORD_TABLES, fields_of
from pageowner.snapshot.reading import read_everything
from pageowner.snapshot.store import load_snapshot, save_snapshot
from pageowner.snapshot.tables import Snapshot
from pageowner.sources import SourceSelection
from tests.conftest import Capture
from tests.snapshots.make import snapshot, table

V1 = Path(__file__).parent / "v1"
RECORDS_OF_V2, REPORT_OF_V2 = 11592, "8bf2ab540479f19304a1f8b7ca4a8592"
SMALL = replace(
    snapshot([("SLAB_PAGE", "dentry", "new_slab < d_alloc", 9), ("ANON_PAGE", "pid 1 (a)", "", 3)]),
    pages=table("pages", [(0, 9, "SLAB_PAGE", "dentry", 7), (9, 3, "ANON_PAGE", "pid 1 (a)", 1)]),
    groupings={"process": table("by-process", [("pid 1 (a)", 3, 3, 3, 0)])},
    about={"release": "6.12", "host": "here"},
    remarks=["one", "two"],
    partial=True,
)


def assert_same(one: Snapshot, two: Snapshot) -> None:
    for field in fields(Snapshot):
        mine, other = getattr(one, field.name), getattr(two, field.name)
        if isinstance(mine, pl.DataFrame):
            assert_frame_equal(mine, other)
        elif field.name == "groupings":
            assert mine.keys() == other.keys()
            for name in mine:
                assert_frame_equal(mine[name], other[name])
        else:
            assert mine == other, field.name


def edit_manifest(directory: Path, **changes: object) -> None:
    path = directory / store.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(directory: Path, name: str, frame: pl.DataFrame) -> None:
    """Put *frame* in the place of a table, as another version might have written it."""
    path = directory / f"{name}.parquet"
    frame.write_parquet(path)
    files = json.loads((directory / store.MANIFEST).read_text())["files"]
    edit_manifest(directory, files=files | {path.name: store.digest(path)})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_snapshot(SMALL, tmp_path / "snap")
    return tmp_path / "snap"


def test_what_is_saved_loads_the_same(saved: Path) -> None:
    assert_same(load_snapshot(saved), SMALL)


def test_a_source_records_and_loads_the_same(capture: Capture, tmp_path: Path) -> None:
    scanned = read_everything(SourceSelection("core", capture.core), records=True)
    save_snapshot(scanned, tmp_path / "snap")
    assert_same(load_snapshot(tmp_path / "snap"), scanned)
    assert scanned.pages["n"].sum() == scanned.owners["pages"].sum() == scanned.usage["pages"].sum()


def test_version_1_loads_for_ever(capfd: pytest.CaptureFixture[str]) -> None:
    loaded = load_snapshot(V1)
    assert loaded.about["release"].startswith("6.12")
    assert loaded.groupings.keys() == {"process", "cgroup", "node", "mount"}
    assert loaded.owners["pages"].sum() == loaded.usage["pages"].sum() == loaded.pages["n"].sum() == 98304
    assert loaded.owners.null_count().row(0) == (0, 0, 0, 0)
    assert main(["summary", str(V1)]) == 0 and "SLAB_PAGE" in capfd.readouterr().out


def test_a_newer_version_is_refused(saved: Path) -> None:
    edit_manifest(saved, version=store.VERSION + 1)
    with pytest.raises(SourceError, match=r"written by a newer pageowner \(format 3\): update this one"):
        load_snapshot(saved)


def test_unknown_files_and_columns_are_ignored(saved: Path) -> None:
    (saved / "later.parquet").write_bytes(b"whatever")
    rewrite(saved, "owners", SMALL.owners.with_columns(colour=pl.lit("green")))
    edit_manifest(saved, mood="good", coverage={"scanned": 0, "unheard_of": 1})
    assert_same(load_snapshot(saved), SMALL)


def test_a_column_that_an_older_version_lacks_is_null(saved: Path) -> None:
    rewrite(saved, "usage", SMALL.usage.drop("order"))
    loaded = load_snapshot(saved).usage
    assert loaded["order"].to_list() == [None, None] and loaded.schema == SMALL.usage.schema


def test_a_column_of_another_type_is_damage(saved: Path) -> None:
    rewrite(saved, "usage", SMALL.usage.with_columns(pages=pl.lit("many")))
    with pytest.raises(SourceError, match=r"usage\.parquet is missing or damaged"):
        load_snapshot(saved)


def test_a_missing_file_is_one_line(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (saved / "stacks.parquet").unlink()
    assert main(["summary", str(saved)]) == 1
    text = f"{saved / 'stacks.parquet'} is missing or damaged: the snapshot cannot be used"
    assert capfd.readouterr().err == f"pageowner: error: {text}\n"


def test_a_manifest_cannot_name_files_elsewhere(saved: Path) -> None:
    edit_manifest(saved, groupings=["../../x"])
    with pytest.raises(SourceError, match=r"names a table outside of it"):
        load_snapshot(saved)


def test_nothing_is_overwritten_unasked(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(PageownerError, match="exists; use -f"):
        save_snapshot(SMALL, saved)
    other = replace(SMALL, remarks=[])
    save_snapshot(other, saved, force=True)
    assert_same(load_snapshot(saved), other)
    (tmp_path / "mine").mkdir()
    with pytest.raises(PageownerError, match="is no snapshot: it is not overwritten"):
        save_snapshot(SMALL, tmp_path / "mine", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "snap"]


@pytest.mark.parametrize("moment", ["write_parquet", "write_text"])
def test_a_killed_record_leaves_nothing_that_loads(moment: str, tmp_path: Path) -> None:
    code = (
        "import os, polars, pathlib, sys; from tests.snapshots.test_store import SMALL, save_snapshot\n"
        "def die(*_, **__): os.kill(os.getpid(), 9)\n"
        f"{'polars.DataFrame' if moment == 'write_parquet' else 'pathlib.Path'}.{moment} = die\n"
        "save_snapshot(SMALL, pathlib.Path(sys.argv[1]))"
    )
    target = tmp_path / "snap"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False, cwd=root)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert not any(store.is_snapshot(path) for path in tmp_path.iterdir())


def test_a_failed_record_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(PageownerError, match="No space left on device"):
        save_snapshot(SMALL, tmp_path / "snap")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("damage") / "snap"
    save_snapshot(SMALL, directory)
    return directory


@settings(max_examples=150)
@given(st.data())
def test_damage_is_one_clear_line(whole: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(shutil.copytree(whole, Path(place) / "snap"))
        name = data.draw(st.sampled_from(sorted(path.name for path in directory.iterdir())))
        raw = bytearray((directory / name).read_bytes())
        if data.draw(st.booleans()):
            del raw[data.draw(st.integers(0, len(raw) - 1)) :]
        for _ in range(data.draw(st.integers(1, 3))):
            if raw:
                raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        changed = bytes(raw) != (directory / name).read_bytes()
        (directory / name).write_bytes(raw)
        try:
            loaded = load_snapshot(directory)
        except SourceError as error:
            assert str(directory) in str(error) and "\n" not in str(error)
        else:
            assert name == store.MANIFEST or not changed
            assert_frame_equal(loaded.usage, SMALL.usage)


# The same examples each time: about one in some hundred others makes polars' own reader end the process,
# which nothing in it can contain. Accidental damage never gets that far: the digest meets it first.
@settings(max_examples=100, derandomize=True)
@given(st.data())
def test_damage_behind_a_right_digest_is_contained(whole: Path, data: st.DataObject) -> None:
    """What a hostile writer could do: the Parquet reader itself meets the damage."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(shutil.copytree(whole, Path(place) / "snap"))
        path = directory / "usage.parquet"
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(raw)
        files = json.loads((directory / store.MANIFEST).read_text())["files"]
        edit_manifest(directory, files=files | {path.name: store.digest(path)})
        try:
            assert load_snapshot(directory).usage.schema == SMALL.usage.schema
        except SourceError as error:
            assert "usage.parquet is missing or damaged" in str(error)


def test_files_join_without_us(saved: Path) -> None:
    """names.parquet is for those who read thousands of snapshots' files with something else."""
    names = pl.read_parquet(saved / "names.parquet")
    assert names.sort("id").rows() == SMALL.names.sort("id").rows()
    assert set(names["name"]) == {"dentry", "a"} and names["id"].to_list() == SMALL.owners["id"].to_list()


def test_version_2_loads_for_ever(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The report of it stays the same to the byte, too."""
    loaded = load_snapshot(V1.with_name("v2"))
    assert loaded.owners["pages"].sum() == loaded.records["n"].sum() == loaded.pages["n"].sum() == 98304
    assert {"process", "cgroup", "node", "mount"} <= loaded.groupings.keys()
    for name in RECORD_TABLES:
        assert getattr(loaded, name).columns == [field.name for field in fields_of(name)]
    assert main(["report", str(V1.with_name("v2"))]) == 0
    text = capfdbinary.readouterr().out
    assert text.count(b"\nPFN 0x") == RECORDS_OF_V2
    assert hashlib.blake2b(text, digest_size=16).hexdigest() == REPORT_OF_V2
