# SPDX-License-Identifier: LGPL-2.1-or-later
"""``layers``: every layer with what it claims and needs; what fails is said, and costs its own pages only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pageowner.commands import main
from pageowner.layers.registry import layer_classes

MINE = '''
import numpy as np
import polars as pl
from pageowner.layers import Band, Claims, Layer, Needs


class Mine(Layer):
    """The first page of all.

    More about it.
    """

    word = "MINE_PAGE"
    band = Band.WALKED
    line = "MINE_PAGE"
    needs = Needs(globals=("NEED",))

    def walk(self):
        BODY
'''
CLAIM = "yield Claims(np.array([0]), np.array([1]), np.array([1], np.uint64))"


def layers(
    core: Path, capsys: pytest.CaptureFixture[str], *options: str, status: int = 0
) -> list[dict[str, Any]]:
    assert main(["layers", "--json", *options, str(core)]) == status
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "pageowner.layers/1"
    rows: list[dict[str, Any]] = document["layers"]
    return rows


def mine(tmp_path: Path, need: str, body: str) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MINE.replace("NEED", need).replace("BODY", body))
    path.chmod(0o600)
    return str(path)


def test_every_layer_says_what_it_claims(core_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = layers(core_path, capsys)
    assert [row["word"] for row in rows] == [cls.word for cls in layer_classes()]
    assert all(len(row["claims"]) > 10 and not row["claims"].startswith(row["word"]) for row in rows)
    by_word = {row["word"]: row for row in rows}
    assert "slab_caches" in by_word["SLAB_PAGE"]["needs"]
    for word in ("FREE_PAGE", "SLAB_PAGE", "ANON_PAGE", "VMALLOC_PAGE"):
        assert by_word[word]["ok"] and by_word[word]["why"] is None and by_word[word]["pages"] > 100


def test_text_has_all_of_it_in_80_columns(core_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = layers(core_path, capsys)
    assert main(["layers", str(core_path)]) == 0
    paragraphs = capsys.readouterr().out.split("\n\n")
    assert [p.split()[0] for p in paragraphs] == [row["word"] for row in rows]
    assert all(len(line) <= 80 for p in paragraphs for line in p.splitlines())
    slab = next(p for p in paragraphs if p.startswith("SLAB_PAGE "))
    assert " pages\n" in slab and "needs struct kmem_cache.name" in slab


def test_one_of_your_own(core_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mine(tmp_path, "init_task", CLAIM)
    row = next(r for r in layers(core_path, capsys, "--layer", path) if r["word"] == "MINE_PAGE")
    assert (row["ok"], row["pages"], row["claims"]) == (True, 1, "The first page of all")
    assert row["needs"] == ["init_task"]


def test_what_the_kernel_lacks(core_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mine(tmp_path, "no_such_thing", CLAIM)
    row = next(r for r in layers(core_path, capsys, "--layer", path) if r["word"] == "MINE_PAGE")
    assert (row["ok"], row["pages"]) == (False, 0)
    assert row["why"] == "the kernel has no variable no_such_thing"


def test_a_layer_that_raises(core_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mine(tmp_path, "init_task", "raise ValueError('it broke')")
    rows = layers(core_path, capsys, "--layer", path, status=4)
    row = next(r for r in rows if r["word"] == "MINE_PAGE")
    assert (row["ok"], row["why"]) == (False, "failed (it broke)")
    assert all(r["ok"] or r["word"] == "MINE_PAGE" or "has no" in r["why"] for r in rows)
    assert main(["layers", "--layer", path, str(core_path)]) == 4
    captured = capsys.readouterr()
    assert "MINE_PAGE            does not work here\n    why: failed (it broke)\n" in captured.out
    assert "pageowner: layer MINE_PAGE failed (it broke)" in captured.err
