# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys that join: two boots of one kernel, each with addresses of its own."""

from __future__ import annotations

import polars as pl
import pytest

from pageowner.snapshot.reading import read_snapshot
from pageowner.snapshot.store import load_snapshot
from pageowner.sources import SourceSelection
from tests.conftest import Capture
from tests.snapshots.test_store import V1


def test_two_boots_of_one_kernel(capture: Capture) -> None:
    """What does not join differs in functions: which allocation needs a new slab is chance."""
    old = load_snapshot(V1)
    new = read_snapshot(SourceSelection("core", capture.core))
    if new.about["version"] != old.about["version"]:
        pytest.skip("another kernel than the one of the old snapshot")
    assert set(old.zones["address"]).isdisjoint(new.zones["address"])  # KASLR
    stacked = old.usage.filter(pl.col("stack") != 0)
    assert share(stacked.join(new.stacks, on="stack", how="semi"), stacked) > 0.95
    assert old.stacks.join(new.stacks, on="stack", how="semi").height > 0.75 * old.stacks.height
    same = old.stacks.join(new.stacks, on="functions")
    assert (same["stack"] == same["stack_right"]).all()
    named = old.names.join(new.names, on="key", how="semi")
    assert share(old.owners.join(named, on="id", how="semi"), old.owners) > 0.99
    assert named["key"].n_unique() > 0.9 * old.names["key"].n_unique()


def share(part: pl.DataFrame, whole: pl.DataFrame) -> float:
    return int(part["pages"].sum()) / int(whole["pages"].sum())


def test_no_key_holds_an_address(capture: Capture) -> None:
    found = read_snapshot(SourceSelection("core", capture.core))
    assert not found.stacks["functions"].str.contains(r"0x[0-9a-f]{5,}|\+0x").any()
    assert not found.names["name"].str.contains(r"0x[0-9a-f]{5,}|\bpid \d").any()
