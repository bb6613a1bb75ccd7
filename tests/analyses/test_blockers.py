# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who stands in the way of a huge page."""

from __future__ import annotations

import argparse
import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pageowner.analyses.blockers import MOVABLE, NEVER, blockers, whole
from pageowner.analyses.diff import FREE
from pageowner.commands import main
from pageowner.commands.blockers import block_size
from tests.commands.lines import SNAPSHOT
from tests.conftest import Capture
from tests.snapshots.make import table


def runs(*rows: tuple[int, int, str, str]):
    return table("pages", [(*row, 0) for row in rows])


def test_the_least_comes_first() -> None:
    found = blockers(
        runs(
            (0, 8, "FREE_PAGE", "order 3"),
            (8, 6, "FREE_PAGE", "order 1"), (14, 2, "SLAB_PAGE", "dentry"),
            (16, 3, "ANON_PAGE", "pid 1 (a)"), (19, 1, "SLAB_PAGE", "inode"), (20, 4, "FREE_PAGE", "order 2"),
            (24, 8, "ANON_PAGE", "pid 1 (a)"),
            (32, 7, "FREE_PAGE", ""), (39, 1, "RESERVED_PAGE", "hole"),
            (40, 7, "SLAB_PAGE", "with a hole after it"),
            (48, 20, "VMALLOC_PAGE", "f"), (68, 4, "SLAB_PAGE", "dentry"),
        ),
        8,
    )  # fmt: skip
    assert found.select("pfn", "free", "movable", "in_the_way").rows() == [
        (16, 4, 3, 1), (8, 6, 0, 2), (48, 0, 0, 8), (56, 0, 0, 8), (64, 0, 0, 8),
    ]  # fmt: skip
    dentry, vmalloc = ({"word": "SLAB_PAGE", "owner": "dentry", "pages": 2, "pfn": 14},), found["owners"][4]
    assert found["owners"][1].to_list() == list(dentry)
    assert [one["pfn"] for one in vmalloc.to_list()] == [68, 64]


words = st.sampled_from([*FREE, *MOVABLE, *NEVER, "SLAB_PAGE", "PAGE_TABLE_PAGE"])


@given(st.lists(st.tuples(st.integers(1, 40), words), max_size=40))
def test_as_counted_page_by_page(lengths: list[tuple[int, str]]) -> None:
    rows, pfn = [], 0
    for n, word in lengths:
        rows.append((pfn, n, word, word.lower()))
        pfn += n
    page = [word for n, word in lengths for _ in range(n)]
    blocks = [page[at : at + 16] for at in range(0, len(page) - 15, 16)]
    bad = [sum(word not in (*FREE, *MOVABLE) for word in block) for block in blocks]
    expected = {
        16 * at: n for at, n in enumerate(bad) if n and not any(word in NEVER for word in blocks[at])
    }
    found = blockers(runs(*rows), 16)
    assert dict(found.select("pfn", "in_the_way").rows()) == expected
    assert (found["free"] + found["movable"] + found["in_the_way"] == 16).all()
    assert [sum(one["pages"] for one in owners) for owners in found["owners"].to_list()] == found[
        "in_the_way"
    ].to_list()
    free = sum(all(word in FREE for word in block) for block in blocks)
    assert whole(runs(*rows), 16) == (free, bad.count(0) - free)


def test_command(capture: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blockers", "--json", "-n", "9999", str(capture.core)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "pageowner.blockers/1" and found["block_pages"] == 512
    assert len(found["blocks"]) == found["blocked_blocks"] > 0 and found["free_blocks"] > 0
    counts = [block["in_the_way"] for block in found["blocks"]]
    assert counts == sorted(counts)
    assert main(["blockers", "-n", "2", SNAPSHOT]) == 0
    text = capsys.readouterr().out
    assert text.startswith("blocks of 2.0 MiB: ") and "0x" in text


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
