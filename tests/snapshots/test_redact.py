# SPDX-License-Identifier: LGPL-2.1-or-later
"""``record --redact``: no name of a process, file or cgroup gets out, and groups stay groups."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pageowner.analyses.diff import diff
from pageowner.commands import main
from pageowner.snapshot.fields import fields_of
from pageowner.snapshot.pseudonyms import Pseudonyms
from pageowner.snapshot.reading import named_tables
from pageowner.snapshot.redact import redact
from pageowner.snapshot.store import load_snapshot
from pageowner.snapshot.tables import Snapshot
from tests.conftest import Capture
from tests.snapshots.make import snapshot, table

KEY = b"a secret of some length"
SECRET = "topsecret"
OWNERS = [
    ("ANON_PAGE", f"pid 7 ({SECRET})"),
    ("KSM_PAGE", f"pid 7 ({SECRET}) and 2 more"),
    ("PIPE_PAGE", f"pid 7 ({SECRET}) fd 3"),
    ("PAGE_TABLE_PAGE", f"pid 7 ({SECRET}) PTE"),
    ("SOCKET_PAGE", f"tcp pid 7 ({SECRET})"),
    ("SHMEM_PAGE", f"memfd:{SECRET} ino 5"),
    ("SHMEM_PAGE", f"{SECRET}\nx 1:2 ino 5"),
    ("SHMEM_PAGE", f"kernel {SECRET}"),
    ("SWAPCACHE_PAGE", f"memfd:{SECRET}"),
    ("SWAPCACHE_PAGE", f"pid 7 (a) {SECRET}"),
    ("HUGETLB_PAGE", f"/huge/{SECRET}"),
    ("BPF_PAGE", f"map 4 {SECRET}"),
    ("RING_BUFFER_PAGE", SECRET),
    ("RAMDISK_PAGE", f"a layer of one's own, {SECRET}"),
]
KEPT = [
    ("SLAB_PAGE", "dentry"), ("FREE_PAGE", "order 3"), ("FILE_PAGE", "ext4 254:0 ino 18"),
    ("PAGE_TABLE_PAGE", "kernel PTE"), ("ZERO_PAGE", "ZERO_PAGE"), ("HUGETLB_PAGE", "free pool"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "owner"), OWNERS)
def test_no_name_gets_out(word: str, owner: str) -> None:
    told = Pseudonyms(KEY).owner(word, owner)
    assert SECRET not in told and told and told != Pseudonyms(b"another secret").owner(word, owner)


@pytest.mark.parametrize(("word", "owner"), KEPT)
def test_what_is_no_name_stays(word: str, owner: str) -> None:
    assert Pseudonyms(KEY).owner(word, owner) == owner


def whole() -> Snapshot:
    return replace(
        snapshot([(word, owner, "f < g", 3) for word, owner in OWNERS]),
        pages=table("pages", [(i, 3, *pair, 7) for i, pair in enumerate(OWNERS)]),
        groupings={
            "process": table("by-process", [(f"pid 7 ({SECRET})", 1, 1, 1, 0)]),
            "cgroup": table("by-cgroup", [(f"/a/{SECRET}", "online", 1, ""), ("/", "online", 2, "")]),
            "mount": table("by-mount", [(f"/{SECRET}, /b (ext4 1:2)", 1, ""), ("bdev 0:3", 1, "")]),
            "place": table("by-place", [(0, 9, 0, 1, 9, "Movable", f"pid 7 ({SECRET})", 60)]),
        },
        about={"release": "6.12", "host": SECRET},
        remarks=[f"pid 7 ({SECRET}) is odd"],
    )


def test_a_whole_snapshot() -> None:
    source = whole()
    told = redact(source, KEY)
    assert SECRET not in repr([frame.rows() for frame in named_tables(told).values()])
    assert SECRET not in repr((told.about, told.remarks))
    assert told.owners["pages"].sum() == told.usage["pages"].sum() == 3 * len(OWNERS)
    assert set(told.usage["id"]) == set(told.owners["id"])
    assert not set(told.usage["id"]) & set(source.usage["id"])
    process = told.groupings["process"]["process"][0]
    assert told.groupings["place"]["process"][0] == process
    assert re.fullmatch(r"pid 7 \(process-[0-9a-f]{10}\)", process)
    assert process in told.owners["owner"].to_list()  # the same pseudonym wherever it stands
    assert told.groupings["cgroup"]["cgroup"][1] == "/"
    assert told.groupings["cgroup"]["cgroup"][0].count("/") == 2
    assert told.groupings["mount"]["mount"].to_list()[1] == "bdev 0:3"
    assert told.groupings["mount"]["mount"][0].endswith(" (ext4 1:2)")


def test_one_key_makes_snapshots_that_compare() -> None:
    source = whole()
    assert diff([redact(source, KEY), redact(source, KEY)]).owners.is_empty()
    assert not diff([redact(source), redact(source)]).owners.is_empty()


def test_record_redact(capture: Capture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of the capture's processes and files are nowhere in the directory, in no table and no file."""
    key = tmp_path / "key"
    key.write_bytes(KEY)
    target = tmp_path / "snap"
    assert main(["record", "-o", str(target), "--redact-key", str(key), str(capture.core)]) == 0
    names = ["w_anon", "w_pipe", "memfd:", "/huge/", "busybox"]
    told = load_snapshot(target)
    text = repr([frame.rows() for frame in named_tables(told).values()])
    assert not [name for name in names if name in text]
    assert {field.name for field in fields_of("owners")} == set(told.owners.columns)
    assert "SLAB_PAGE" in text and "process-" in text and "file-" in text
    key.write_bytes(b"short")
    assert main(["record", "-o", str(target), "-f", "--redact-key", str(key), str(capture.core)]) == 2
    assert "too short for a secret" in capsys.readouterr().err


@pytest.mark.parametrize("table", ["owners", "records", "allocations", "states", "by_process"])
def test_export_redact(table: str, tmp_path: Path) -> None:
    """No name of the workload's processes and files is in a table that is given away."""
    source, target = str(Path(__file__).parent / "v2"), tmp_path / "out"
    line = ["export", "-O", "jsonl", "--table", table, "-o", str(target), "-f", source]
    assert main(line) == 0
    plain = target.read_text()
    assert main([*line, "--redact"]) == 0
    told = target.read_text()
    assert len(told.splitlines()) == len(plain.splitlines())
    for name in ("w_anon", "w_pipe", "swapfile"):
        assert name not in told
    assert table == "states" or "w_anon" in plain or "w_pipe" in plain
