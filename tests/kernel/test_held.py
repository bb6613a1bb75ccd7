# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages that somebody holds, against the workload that holds them."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from pageowner.kernel.lru_batches import read_lru_batches
from pageowner.kernel.memory_block import read_memory_blocks
from pageowner.kernel.target import Kernel
from pageowner.snapshot.tables import Snapshot, take_snapshot
from pageowner.sources import open_core
from tests.conftest import Capture


@pytest.fixture(scope="module")
def kernel(capture: Capture) -> Kernel:
    return open_core(capture.core)


@pytest.fixture(scope="module")
def snapshot(kernel: Kernel) -> Snapshot:
    return take_snapshot(kernel, by=["obstacle", "place"], pages=True)


def obstacles(snapshot: Snapshot, why: str) -> set[int]:
    found = snapshot.groupings["obstacle"].filter(pl.col("why") == why)
    return {pfn + i for pfn, n in found.select("pfn", "n").rows() for i in range(n)}


def told(capture: Capture, *kinds: str) -> set[int]:
    lines = re.findall(r"^TRUTH kind=(\S+) .*?\bpfn=(0x[0-9a-f]+) n=1\b", capture.text("truth.txt"), re.M)
    return {int(pfn, 16) for kind, pfn in lines if kind in kinds}


def test_pinned_are_the_buffers_that_io_uring_has_registered(capture: Capture, snapshot: Snapshot) -> None:
    assert obstacles(snapshot, "pinned") == told(capture, "io_uring_buffer") != set()


def test_referenced_are_the_pages_in_pipes(capture: Capture, snapshot: Snapshot) -> None:
    """And hardly any other: what is in a batch of the LRU lists is not taken for held."""
    found, piped = obstacles(snapshot, "referenced"), told(capture, "pipe_file", "pipe_anon")
    assert piped <= found and len(found) <= len(piped) + 4


def test_buffers_that_ext4_keeps(snapshot: Snapshot) -> None:
    """Its superblock and group descriptors at least, and nothing but pages of its disk."""
    found = snapshot.groupings["obstacle"].filter(pl.col("why") == "buffers")
    owners = found.join(snapshot.owners, on="id").select("word", "owner").unique().rows()
    assert owners == [("BDEV_PAGE", "vda")] and found["n"].sum() >= 2


def test_what_is_in_the_way_and_what_is_not_are_all_pages(snapshot: Snapshot) -> None:
    """Kinds that never move are obstacles to the last page, and no page that is free is one."""
    found = snapshot.groupings["obstacle"].join(snapshot.owners.drop("pages"), on="id")
    sums = dict(found.filter(pl.col("why") == "kind").group_by("word").agg(pl.col("n").sum()).rows())
    pages = dict(snapshot.pages.group_by("word").agg(pl.col("n").sum()).rows())
    assert all(pages[word] == n for word, n in sums.items() if word != "OFFLINE_PAGE")
    assert {"SLAB_PAGE", "PAGE_TABLE_PAGE", "RESERVED_PAGE"} <= sums.keys()
    assert not {"FREE_PAGE", "PCP_FREE_PAGE"} & sums.keys()
    assert (np.diff(found.sort("pfn")["pfn"].to_numpy()) > 0).all()


def test_a_batch_holds_folios_of_the_page_cache_and_of_processes(kernel: Kernel, snapshot: Snapshot) -> None:
    batched = read_lru_batches(kernel)
    assert len(batched)
    pages = snapshot.pages.sort("pfn")
    at = np.searchsorted(pages["pfn"].to_numpy(), batched, side="right") - 1
    words = set(pages["word"][at].to_list())
    assert words <= {"ANON_PAGE", "FILE_PAGE", "BDEV_PAGE", "SHMEM_PAGE", "SWAPCACHE_PAGE"}


def test_memory_blocks_cover_the_memory_that_there_is(kernel: Kernel, capture: Capture) -> None:
    found = read_memory_blocks(kernel)
    if not found.height and "CONFIG_MEMORY_HOTPLUG=y" not in capture.text("config.txt"):
        pytest.skip("this kernel has no memory blocks")
    assert found["name"].to_list() == [f"memory{pfn // n}" for pfn, n in found.select("pfn", "n").rows()]
    assert set(found["state"]) == {"online"} and set(found["n"]) == {32768}
    present = [int(n) for n in re.findall(r"^ +present +(\d+)", capture.text("zoneinfo.txt"), re.M)]
    assert 0 <= found["n"].sum() - sum(present) < 32768


def test_page_cache_that_is_mapped_or_locked_is_not_reclaimable(snapshot: Snapshot) -> None:
    usage = snapshot.usage.join(snapshot.owners.select("id", "word", "owner"), on="id")
    by_word = usage.group_by("word").agg(pl.col("reclaimable", "pages").sum())
    sums = {word: (reclaimable, pages) for word, reclaimable, pages in by_word.rows()}
    assert 0 < sums["FILE_PAGE"][0] < sums["FILE_PAGE"][1]
    assert all(not n for word, (n, _) in sums.items() if word not in ("FILE_PAGE", "BDEV_PAGE"))
    piped = usage.filter(pl.col("owner") == "ext4 254:0 ino 28")  # the file whose pages are in a pipe
    assert piped["pages"].sum() >= 2 and piped["reclaimable"].sum() <= piped["pages"].sum() - 2
