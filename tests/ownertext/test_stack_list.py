# SPDX-License-Identifier: LGPL-2.1-or-later
"""page_owner_stacks/show_stacks and its relatives as sources: as many pages as the records tell of."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageowner.commands import main
from pageowner.ownertext.intern import Tails
from pageowner.ownertext.stack_list import StackList, is_stack_list
from pageowner.snapshot.from_text import text_snapshot
from tests.ownertext.texts import SLAB_STACK, STACK

RECLAIM = 0xC00  # __GFP_RECLAIM
LISTS = {
    "show_stacks": STACK + b"nr_base_pages: 7\n\n" + SLAB_STACK + b"nr_base_pages: 4\n\n",
    "show_handles": b"handle: 17825816\nnr_base_pages: 7\n\nhandle: -5\nnr_base_pages: 4\n\n",
    "all three": STACK + b"handle: 17825816\nnr_base_pages: 7\n\n" + SLAB_STACK + b"nr_base_pages: 4\n\n",
}
OWNERS = {
    "show_stacks": [("ANON_PAGE", 7), ("SLAB_PAGE", 4)],
    "show_handles": [("UNKNOWN_PAGE", 7), ("UNKNOWN_PAGE", 4)],
    "all three": [("ANON_PAGE", 7), ("SLAB_PAGE", 4)],
}


@pytest.mark.parametrize("name", LISTS)
def test_forms(name: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(LISTS[name])
    found = text_snapshot(path)
    assert found.owners.select("word", "pages").rows() == OWNERS[name]
    assert found.stacks.height == (0 if name == "show_handles" else 2) and not found.partial
    if name == "show_handles":
        assert found.owners["owner"].to_list() == ["(stack handle 17825816)", "(stack handle 4294967291)"]


def listed_records(text: bytes) -> bytes:
    """*text* without what 7.2 leaves out of its list: stacks first met in an allocation that may not reclaim.

    add_stack_record_to_list() returns early there (gfpflags_allow_spinning()); slabs ask so at first.
    """
    pieces = re.split(rb"(?m)^(?=Page allocated via order )", text)
    masks = [re.search(rb", mask (0x[0-9a-f]+)", piece) for piece in pieces]
    may = [mask is None or int(mask[1], 16) & RECLAIM for mask in masks]
    return b"".join(piece for piece, kept in zip(pieces, may, strict=True) if kept)


def test_the_same_pages_as_in_the_records(capture: Any, tmp_path: Path) -> None:
    """The kernel's own list and records, taken at almost the same moment: kind by kind, stack by stack."""
    if not capture.has("page_owner_stacks.txt") or not capture.has("page_owner.txt"):
        pytest.skip("this kernel has no such list, or its texts are not in the capture")
    tables = []
    for name in ("page_owner_stacks.txt", "page_owner.txt"):
        text = capture.read(name)
        (tmp_path / name).write_bytes(listed_records(text) if capture.version == "7.2" else text)
        tables.append(text_snapshot(tmp_path / name))
    listed, records = tables
    # What was allocated before page_owner was up is in no list.
    late = records.owners.filter(pl.col("word") != "EARLY_PAGE")
    kinds = [dict(t.group_by("word").agg(pl.col("pages").sum()).rows()) for t in (listed.owners, late)]
    assert kinds[0].keys() == kinds[1].keys() and len(kinds[0]) > 20
    assert sum(abs(kinds[0][word] - kinds[1][word]) for word in kinds[0]) <= 32
    stacks = [dict(t.usage.group_by("stack").agg(pl.col("pages").sum()).rows()) for t in (listed, records)]
    same = sum(stacks[1].get(stack) == pages for stack, pages in stacks[0].items())
    assert same >= 0.97 * len(stacks[0])


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(LISTS["show_stacks"])
    new.write_bytes(LISTS["show_stacks"].replace(b": 4\n", b": 9\n"))
    assert main(["diff", "--json", str(old), str(new)]) == 0
    captured = capsys.readouterr()
    first = json.loads(captured.out)["owners"]["grew"][0]
    assert (first["word"], first["growth"]) == ("SLAB_PAGE", 5 * 4096)
    assert "stacks with fewer than page_owner_stacks/count_threshold are not in it" in captured.err
    for command in (["report"], ["sort", "-"], ["summary", "--by", "node"], ["summary", "--kind", "slab"]):
        assert main([command[0], str(old), *command[1:]]) == 1
        error = capsys.readouterr().err
        assert error.startswith("pageowner: error: ") and error.count("\n") == 1


def test_an_end_that_is_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "list"
    path.write_bytes(LISTS["show_stacks"][:-20])
    assert main(["summary", "--json", str(path)]) == 4
    captured = capsys.readouterr()
    assert json.loads(captured.out)["totals"] == {"struct_pages": 7}
    assert "the list is cut off" in captured.err and "1 parts of the list are no stacks" in captured.err


PARTS = [STACK, SLAB_STACK, b"nr_base_pages: 3\n", b"\n", b"handle: 1\n", b"nr_base_pages: x"]
pieces = st.sampled_from(PARTS)


@given(st.lists(pieces | st.binary(max_size=9), max_size=12).map(b"".join))
def test_any_bytes(raw: bytes) -> None:
    listed = StackList()
    rows = listed.read([raw], Tails())
    assert rows.height == listed.stacks <= raw.count(b"nr_base_pages: 3\n")
    assert rows.height or not raw.strip() or listed.damaged
    assert is_stack_list(raw) or not rows.height or raw.startswith(b"Page")
