# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who stands in the way of a huge page, of a block of memory to be taken offline, of a CMA area."""

from __future__ import annotations

import argparse
import json
import re

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given

from pageowner.analyses.blockers import KIND, MOVABLE, NEVER, PINNED, aligned, blockers, with_types
from pageowner.analyses.diff import FREE
from pageowner.commands import main
from pageowner.commands.blockers import block_size
from tests.commands.lines import SNAPSHOT
from tests.conftest import Capture

UNIT = {"name": pl.String, "types": pl.String, "pfn": pl.Int64, "n": pl.Int64}
TEXT = ("word", "owner", "why", "stack")
OBSTACLE = {"pfn": pl.Int64, "n": pl.Int64, **dict.fromkeys(TEXT, pl.String)}


def runs(*rows: tuple[int, int, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), {"pfn": pl.Int64, "n": pl.Int64, "word": pl.String}, orient="row")


def obstacles(*rows: tuple[int, int, str, str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), OBSTACLE, orient="row")


def units(*rows: tuple[str, int, int]) -> pl.DataFrame:
    return pl.DataFrame([(name, "", pfn, n) for name, pfn, n in rows], UNIT, orient="row")


def blocks(pages: pl.DataFrame, size: int) -> pl.DataFrame:
    return aligned(pages, size).with_columns(types=pl.lit(""))


def test_the_least_comes_first() -> None:
    pages = runs(
        (0, 8, "FREE_PAGE"),
        (8, 6, "FREE_PAGE"), (14, 2, "SLAB_PAGE"),
        (16, 3, "ANON_PAGE"), (19, 1, "SLAB_PAGE"), (20, 4, "FREE_PAGE"),
        (24, 8, "ANON_PAGE"),
        (32, 7, "FREE_PAGE"), (39, 1, "RESERVED_PAGE"),
        (40, 7, "SLAB_PAGE"),  # with a hole behind it
        (48, 20, "VMALLOC_PAGE"), (68, 4, "SLAB_PAGE"),
    )  # fmt: skip
    slab = ("new_slab\nd_alloc\nopen",)
    held = obstacles(
        (14, 2, "SLAB_PAGE", "dentry", KIND, *slab), (19, 1, "SLAB_PAGE", "inode", KIND, ""),
        (30, 1, "ANON_PAGE", "pid 1 (a)", PINNED, "fault"),
        (31, 1, "ANON_PAGE", "pid 1 (a)", PINNED, "other"),
        (39, 1, "RESERVED_PAGE", "hole", KIND, ""), (40, 7, "SLAB_PAGE", "inode", KIND, ""),
        (48, 20, "VMALLOC_PAGE", "f", KIND, ""), (68, 4, "SLAB_PAGE", "dentry", KIND, *slab),
    )  # fmt: skip
    found = blockers(pages, held, blocks(pages, 8))
    assert found.units.select("pfn", "free", "movable", "in_the_way").rows() == [
        (16, 4, 3, 1), (8, 6, 0, 2), (24, 0, 6, 2), (48, 0, 0, 8), (56, 0, 0, 8), (64, 0, 0, 8),
    ]  # fmt: skip
    dentry = dict(zip(TEXT, ("SLAB_PAGE", "dentry", KIND, "d_alloc < open"), strict=True))
    assert found.units["owners"][1].to_list() == [{**dentry, "pages": 2, "pfn": 14}]
    pinned = found.units["owners"][2].to_list()
    assert [(one["why"], one["stack"], one["pfn"]) for one in pinned] == [
        (PINNED, "fault", 30), (PINNED, "other", 31),
    ]  # fmt: skip
    assert [one["pfn"] for one in found.units["owners"][5].to_list()] == [64, 68]
    assert (found.free["pfn"].to_list(), found.movable.height, found.fixed) == ([0], 0, 2)


def test_units_of_any_place_and_size() -> None:
    """What begins before a unit, or ends behind it, counts with what lies inside."""
    pages = runs((0, 10, "ANON_PAGE"), (10, 20, "SLAB_PAGE"), (30, 10, "FREE_PAGE"))
    held = obstacles((10, 20, "SLAB_PAGE", "dentry", KIND, ""))
    found = blockers(pages, held, units(("a", 3, 10), ("b", 20, 15), ("c", 35, 5), ("d", 38, 9)))
    assert found.units.select("name", "pfn", "free", "movable", "in_the_way").rows() == [
        ("a", 3, 0, 7, 3), ("b", 20, 5, 0, 10),
    ]  # fmt: skip
    assert found.units["owners"][1].to_list()[0]["pfn"] == 20
    assert found.free["name"].to_list() == ["c"] and found.fixed == 1


def test_hugetlb_moves_out_of_what_is_isolated() -> None:
    """Memory to be taken offline and CMA areas; for a huge page, one that is there is no help."""
    pages = runs((0, 8, "HUGETLB_PAGE"), (8, 8, "HUGETLB_PAGE"))
    held = obstacles((0, 8, "HUGETLB_PAGE", "free pool", KIND, ""), (8, 8, "HUGETLB_PAGE", "f", PINNED, ""))
    assert blockers(pages, held, blocks(pages, 8)).units["pfn"].to_list() == [0, 8]
    found = blockers(pages, held, blocks(pages, 8), isolated=True)
    assert found.units["pfn"].to_list() == [8] and found.movable["pfn"].to_list() == [0]


def test_types_are_those_of_the_pageblocks() -> None:
    places = pl.DataFrame(
        [(0, 20, 3, "Movable"), (20, 4, 3, "Movable"), (24, 8, 3, "Unmovable"), (32, 8, 3, None)],
        {"pfn": pl.Int64, "n": pl.Int64, "block": pl.Int8, "mobility": pl.String}, orient="row",
    )  # fmt: skip
    told = with_types(units(("a", 0, 8), ("b", 8, 24), ("c", 32, 8)).drop("types"), places)
    assert told["types"].to_list() == ["Movable", "Movable 2, Unmovable 1", ""]


words = st.sampled_from([*FREE, *MOVABLE, *NEVER, "SLAB_PAGE", "PAGE_TABLE_PAGE"])


@given(st.lists(st.tuples(st.integers(1, 40), words), max_size=40))
def test_as_counted_page_by_page(lengths: list[tuple[int, str]]) -> None:
    rows, pfn = [], 0
    for n, word in lengths:
        rows.append((pfn, n, word))
        pfn += n
    page = [word for n, word in lengths for _ in range(n)]
    each = [page[at : at + 16] for at in range(0, len(page) - 15, 16)]
    bad = [sum(word not in (*FREE, *MOVABLE) for word in block) for block in each]
    expected = {
        16 * at: n for at, n in enumerate(bad) if n and not any(word in NEVER for word in each[at])
    }
    fixed = [(*row, row[2].lower(), KIND, "") for row in rows if row[2] not in (*FREE, *MOVABLE)]
    found = blockers(runs(*rows), obstacles(*fixed), blocks(runs(*rows), 16))
    table = found.units
    assert dict(table.select("pfn", "in_the_way").rows()) == expected
    assert (table["free"] + table["movable"] + table["in_the_way"] == 16).all()
    assert [sum(one["pages"] for one in owners) for owners in table["owners"].to_list()] == table[
        "in_the_way"
    ].to_list()
    free = sum(all(word in FREE for word in block) for block in each)
    assert (found.free.height, found.movable.height) == (free, bad.count(0) - free)


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["blockers", *argv]) == 0
    return capsys.readouterr().out


def test_command(capture: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "--json", "-n", "9999", str(capture.core)))
    assert found["schema"] == "pageowner.blockers/1" and found["block_pages"] == 512
    assert len(found["blocks"]) == found["blocked_blocks"] > 0 and found["free_blocks"] > 0
    counts = [block["in_the_way"] for block in found["blocks"]]
    assert counts == sorted(counts)
    slab = [one for block in found["blocks"] for one in block["owners"] if one["word"] == "SLAB_PAGE"]
    assert slab and all(one["why"] == "kind" for one in slab)
    assert printed(capsys, "--size", "2M", "--json", str(capture.core)).count('"unit": "size"') == 1
    capture.need_records()
    assert len([one for one in slab if one["stack"]]) > 0.5 * len(slab)


def test_a_snapshot_says_the_same(capture: Capture, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", str(capture.core), "-o", str(tmp_path / "snap")]) == 0
    for unit in ("pageblock", "block", *(("cma",) if capture.has("cma.txt") else ())):
        words = ("--unit", unit, "-n", "999")
        assert printed(capsys, *words, str(tmp_path / "snap")) == printed(capsys, *words, str(capture.core))


def test_redacted(capture: Capture, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--redact", str(capture.core), "-o", str(tmp_path / "snap")]) == 0
    text = printed(capsys, "-n", "999", "--json", str(tmp_path / "snap"))
    plain = printed(capsys, "-n", "999", "--json", str(capture.core))
    assert "w_pipe" in plain and "w_pipe" not in text and "process-" in text
    counts = [[block["in_the_way"] for block in json.loads(each)["blocks"]] for each in (plain, text)]
    assert counts[0] == counts[1] != []


def test_a_cma_area_is_the_kernels(capture: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    """debugfs cma says how many pages of the area are allocated; those are what is in the way."""
    if not capture.has("cma.txt"):
        pytest.skip("this kernel has no CMA")
    area = json.loads(printed(capsys, "--unit", "cma", "--json", str(capture.core)))["blocks"][0]
    words = dict(re.findall(r"^==> .*/(\w+) <==\n(\d+)$", capture.text("cma.txt"), re.MULTILINE))
    assert (area["pfn"], area["n"]) == (int(words["base_pfn"]), int(words["count"]))
    assert area["in_the_way"] == int(words["used"]) and area["types"].startswith("CMA")
    assert sum(one["pages"] for one in area["owners"]) == area["in_the_way"]


@pytest.mark.two_kernels
def test_filters_choose_units(capture: Capture, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that such a page is in the way of, whole; not those in which such a page may move."""
    capture.need_records()
    assert main(["record", str(capture.core), "-o", str(tmp_path / "snap")]) == 0
    capsys.readouterr()
    every = json.loads(printed(capsys, "--json", "-n", "999", str(capture.core)))["blocks"]
    for words, mine in (
        (["--kind", "anon"], lambda one: one["word"] == "ANON_PAGE"),
        (["--owner", "*w_pipe*"], lambda one: "w_pipe" in one["owner"]),
        (["--function", "copy_process"], lambda one: "copy_process" in one["stack"].split(" < ")),
    ):
        expected = [block for block in every if any(mine(one) for one in block["owners"])]
        for source in (str(capture.core), str(tmp_path / "snap")):
            found = json.loads(printed(capsys, "--json", "-n", "999", *words, source))
            assert found["blocks"] == expected != []
            assert found["blocked_blocks"] < len(every) and not found["free"] and not found["movable"]


def test_an_old_snapshot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blockers", "-n", "2", SNAPSHOT]) == 0
    text, remarks = capsys.readouterr()
    assert text.startswith("pageblocks of 2.0 MiB: ") and "0x" in text
    assert "pinned pages and stacks are not known" in remarks
    assert main(["blockers", "--unit", "block", SNAPSHOT]) == 1
    assert "without memory blocks and CMA areas: record it anew" in capsys.readouterr().err


def test_a_source_without_places(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    from pageowner.snapshot.store import save_snapshot
    from tests.snapshots.make import snapshot

    save_snapshot(snapshot([("SLAB_PAGE", "dentry", "", 1)]), tmp_path / "snap")
    assert main(["blockers", str(tmp_path / "snap")]) == 1
    assert "does not say where its pages are" in capsys.readouterr().err


def test_sizes() -> None:
    assert [block_size(text) for text in ("8K", "2M", "128MiB", "1g")] == [2, 512, 32768, 262144]
    for text in ("4K", "3M", "2M1", "0", "6000"):
        with pytest.raises(argparse.ArgumentTypeError):
            block_size(text)
