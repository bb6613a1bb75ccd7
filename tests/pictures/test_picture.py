# SPDX-License-Identifier: LGPL-2.1-or-later
"""What pictures are drawn of: no page is lost on the way into a page's columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageowner.analyses import picture as pictures
from pageowner.analyses.ground import coarser, without_gaps
from pageowner.analyses.kinds import pages_by_kind
from pageowner.analyses.names import allocator_frames
from pageowner.analyses.picture import picture
from pageowner.analyses.zonemap import overlaps
from pageowner.reporters.html.document import Request, document
from pageowner.snapshot.reading import read_everything
from pageowner.snapshot.store import load_snapshot, save_snapshot
from pageowner.snapshot.tables import Snapshot
from pageowner.sources import SourceSelection
from tests.conftest import Capture
from tests.pictures.test_payload import unpack
from tests.snapshots.make import snapshot, table

RUNS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=12
)
V1 = Path(__file__).parents[1] / "snapshots" / "v1"


def runs_of(pieces: list[tuple[int, int, int]]) -> pl.DataFrame:
    """Runs of *pieces*: a gap, a length, a number."""
    rows, at = [], 0
    for gap, n, number in pieces:
        rows.append((at + gap, n, number))
        at += gap + n
    return pl.DataFrame(rows, schema={"pfn": pl.Int64, "n": pl.Int64, "number": pl.Int64}, orient="row")


def per_page(runs: pl.DataFrame) -> list[int]:
    return np.repeat(runs["number"].to_numpy(), runs["n"].to_numpy()).tolist()


@given(RUNS)
def test_gaps_are_filled_and_nothing_else_changes(pieces: list[tuple[int, int, int]]) -> None:
    runs = runs_of(pieces)
    filled = without_gaps(runs, ["number"])
    pages = per_page(filled)
    expected = np.zeros(len(pages), int)
    for pfn, n, number in runs.iter_rows():
        expected[pfn : pfn + n] = number
    assert pages == expected.tolist() and (filled["number"].diff().drop_nulls() != 0).all()


@given(RUNS, st.sampled_from([2, 4, 16]))
def test_a_grain_is_what_most_of_its_pages_are(pieces: list[tuple[int, int, int]], grain: int) -> None:
    pages = per_page(without_gaps(runs_of(pieces), ["number"]))
    grains = coarser(without_gaps(runs_of(pieces), ["number"]), ["number"], grain)
    voted = per_page(grains)[::grain]
    for at, number in enumerate(voted):
        votes = pages[at * grain : (at + 1) * grain]
        assert votes.count(number) == max(votes.count(other) for other in votes)
    assert len(voted) == -(-len(pages) // grain)


@given(RUNS, RUNS)
def test_overlaps_are_what_both_cover(a: list[tuple[int, int, int]], b: list[tuple[int, int, int]]) -> None:
    left, right = runs_of(a), runs_of(b).rename({"number": "other"})

    def pages(runs: pl.DataFrame, name: str) -> dict[int, int]:
        return {p: v for pfn, n, v in runs.select("pfn", "n", name).iter_rows() for p in range(pfn, pfn + n)}

    mine, theirs = pages(left, "number"), pages(right, "other")
    both = overlaps(left, right)
    assert pages(both, "number") == {p: v for p, v in mine.items() if p in theirs}
    assert pages(both, "other") == {p: v for p, v in theirs.items() if p in mine}


def test_the_allocators_own_frames_are_counted() -> None:
    texts = pl.DataFrame({"f": ["post_alloc_hook\nalloc_pages_noprof\nmine\nalloc_pages", "mine", ""]})
    assert texts.select(allocator_frames(pl.col("f")))["f"].to_list() == [2, 0, 0]


def test_small_owners_are_folded_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_OWNERS", 2)
    made = snapshot(
        [("A_PAGE", "big", "f", 9), ("B_PAGE", "b", "f", 8), ("A_PAGE", "x", "g", 2), ("A_PAGE", "y", "", 1)]
    )
    drawn = picture(made, made.zones)
    assert drawn.owners["owner"].to_list() == ["big", "b", "2 smaller owners"]
    assert drawn.owners["folded"].to_list() == [0, 0, 2]
    assert drawn.usage["pages"].sum() == 20 and drawn.usage.filter(pl.col("owner") == 2)["pages"].sum() == 3


@pytest.fixture(scope="module")
def scanned(capture: Capture) -> Snapshot:
    return read_everything(SourceSelection("core", capture.core), by=["place", "obstacle"])


def test_every_page_is_in_the_page(scanned: Snapshot) -> None:
    header, columns = unpack(document(scanned, Request(source="core")))
    words = [kind["word"] for kind in header["words"]]
    expected = dict(pages_by_kind(scanned.owners).select("word", "pages").iter_rows())
    usage, ground = dict.fromkeys(words, 0), dict.fromkeys(words, 0)
    for owner, pages in zip(columns["usage_owner"], columns["usage_pages"], strict=True):
        usage[words[columns["owner_word"][owner]]] += pages
    for owner, pages in zip(columns["run_owner"], columns["run_n"], strict=True):
        if owner:
            ground[words[columns["owner_word"][owner - 1]]] += pages
    assert usage == ground == expected
    assert sum(columns["place_n"]) == sum(columns["run_n"])
    assert header["summary"]["kinds"] == pages_by_kind(scanned.owners).to_dicts()
    assert {"Movable", "Unmovable"} <= set(header["map"]["mobilities"])
    recorded = scanned.groupings["place"]["process"].drop_nulls()
    assert not len(recorded) or any("w_anon" in name for name in header["map"]["processes"])


def test_a_snapshot_draws_the_same(scanned: Snapshot, tmp_path: Path) -> None:
    save_snapshot(scanned, tmp_path / "snap")
    request = Request(source="x")
    assert unpack(document(load_snapshot(tmp_path / "snap"), request)) == unpack(document(scanned, request))


def test_growth_has_the_older_stacks(scanned: Snapshot) -> None:
    older = snapshot([("GONE_PAGE", "x", "one < two", 7), ("FREE_PAGE", "order 0", "", 5)])
    header, columns = unpack(document(scanned, Request(source="core", since=older, since_name="old")))
    word = header["words"][columns["before_word"][0]]["word"]
    assert columns["before_pages"] == [7] and word == "GONE_PAGE"
    stack = columns["before_stack"][0] - 1
    start = sum(columns["stack_depth"][:stack])
    frames = columns["stack_frames"][start : start + columns["stack_depth"][stack]]
    assert [header["functions"][f] for f in frames] == ["one", "two"]


def test_an_older_snapshot_has_a_map_without_mobility() -> None:
    header, columns = unpack(document(load_snapshot(V1), Request(source="v1")))
    assert header["map"]["mobilities"] == [] and sum(columns["run_n"]) == 98304
    assert set(columns["place_place"]) == {0, 1, 2}


def test_without_pages_there_is_no_map() -> None:
    header, columns = unpack(document(snapshot([("SLAB_PAGE", "dentry", "f", 3)]), Request()))
    assert header["views"] == ["balance", "flame", "treemap"] and header["lacking"] == ["map"]
    assert "run_n" not in columns


def test_a_map_too_big_is_coarser_and_says_so() -> None:
    rows = [("SLAB_PAGE", f"cache-{i}", "", 1000) for i in range(40)]
    random = np.random.default_rng(1)
    picks = random.integers(0, 40, 20_000).tolist()
    pages = [(3 * i, 3, "SLAB_PAGE", f"cache-{pick}", 1) for i, pick in enumerate(picks)]
    made = replace(snapshot(rows), pages=table("pages", pages))
    small, large = (document(made, Request(limit=limit)) for limit in (5_000, 5_000_000))
    assert unpack(large)[0]["map"]["grain"] == 1 and unpack(small)[0]["map"]["grain"] >= 4
    assert len(small) < len(large) / 3 and sum(unpack(small)[1]["run_n"]) >= 60_000
