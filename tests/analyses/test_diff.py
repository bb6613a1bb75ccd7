# SPDX-License-Identifier: LGPL-2.1-or-later
"""What grew: a leak of 2 MB comes first under 50 MB of churn, wherever it is."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given

from pageowner.analyses.diff import diff
from tests.snapshots.make import Row, snapshot

MB = 256  # pages
FAULT = "post_alloc_hook < folio_prealloc < do_anonymous_page < handle_mm_fault"
READ = "page_cache_ra_unbounded < filemap_get_pages < ext4_file_read_iter < vfs_read"
SLAB = "new_slab < kmem_cache_alloc < driver_ioctl < __x64_sys_ioctl"
DRIVER = "alloc_pages < driver_fill [leaky] < driver_work [leaky] < process_one_work"


def machine(boot: int) -> list[Row]:
    """An idle machine, of which nothing leaks: numbers and names differ with every boot, and memory is
    churned: 50 MB of processes and 50 MB of page cache went and others came; caches breathe a little."""
    pid, offset = 100 + 37 * boot, f"+0x{0x10 + boot:x}"
    return [
        ("FREE_PAGE", "order 10", "", 500 * MB - boot * 60 * MB),
        ("PCP_FREE_PAGE", f"cpu {boot}", "", 4 * MB),
        ("ANON_PAGE", f"pid {pid} (postgres)", FAULT, 80 * MB + 30 * boot),
        ("ANON_PAGE", f"pid {pid + 1} (job-{boot})", FAULT, 50 * MB),
        *(("FILE_PAGE", f"ext4 254:0 ino {1000 + 50 * boot + i}", READ, MB) for i in range(50)),
        ("FILE_PAGE", "ext4 254:0 ino 9", READ, 5 * MB),
        ("SLAB_PAGE", "dentry", "new_slab < d_alloc", 9 * MB + 40 * boot),
        ("SLAB_PAGE", "driver_objects", SLAB, 3 * MB),
        ("ALLOC_PAGE", f"driver_fill{offset} [leaky]", DRIVER, 3 * MB),
        ("KERNEL_STACK_PAGE", f"pid {pid + 7} (kworker/{boot}:2H)", "copy_process", 4),
    ]


LEAKS = {
    "slab objects": ("SLAB_PAGE", "driver_objects", SLAB),
    "pages of a driver": ("ALLOC_PAGE", "driver_fill+0x11 [leaky]", DRIVER),
    "page cache held by a process": ("FILE_PAGE", "ext4 254:0 ino 9", READ),
    "anonymous memory": ("ANON_PAGE", "pid 138 (postgres)", FAULT),
}


@pytest.mark.parametrize(("word", "owner", "stack"), LEAKS.values(), ids=LEAKS)
def test_a_planted_leak_comes_first(word: str, owner: str, stack: str) -> None:
    found = diff([snapshot(machine(0)), snapshot([*machine(1), (word, owner, stack, 2 * MB)])])
    first = found.owners.row(0, named=True)
    assert first["word"] == word and first["owner"] in owner.replace("+0x11", "").replace("pid 138 (", "")
    assert 2 * MB <= first["growth"] <= 2 * MB + 40
    assert first["stack"].split(" < ")[-1] == stack.split(" < ")[-1]
    top = found.stacks.row(0, named=True)
    assert top["stack"] == first["stack"] and top["kinds"] == word
    assert found.turnover == 100 * MB and found.most_growth == top["growth"]


def test_the_churn_alone_is_small() -> None:
    found = diff([snapshot(machine(0)), snapshot(machine(1))])
    assert found.most_growth == 40
    assert not set(found.kinds["word"]) & {"FREE_PAGE", "PCP_FREE_PAGE"}


def test_more_processes_than_went_are_growth() -> None:
    went = [("ANON_PAGE", "pid 1 (a)", FAULT, 10 * MB)]
    came = [("ANON_PAGE", "pid 2 (b)", FAULT, 30 * MB), ("ANON_PAGE", "pid 3 (c)", FAULT, 10 * MB)]
    found = diff([snapshot(went), snapshot(came)])
    assert found.owners.select("owner", "change", "growth").rows() == [
        ("b", 30 * MB, 30 * MB - 30 * MB // 4), ("c", 10 * MB, 10 * MB - 10 * MB // 4), ("a", -10 * MB, 0),
    ]  # fmt: skip
    assert found.turnover == 10 * MB


def test_page_cache_that_can_be_given_back_is_no_growth() -> None:
    """Read for the first time: no owner went for it. Kept by somebody: growth, though no page is new."""
    before = [("FILE_PAGE", "ext4 254:0 ino 9", READ, 3 * MB, 3 * MB)]
    read = ("FILE_PAGE", "ext4 254:0 ino 10", READ, 50 * MB, 50 * MB)
    found = diff([snapshot(before), snapshot([*before, read, ("SLAB_PAGE", "leak", SLAB, 2)])])
    assert found.owners.select("owner", "change", "growth").rows() == [
        ("leak", 2, 2), ("ext4 254:0 ino 10", 50 * MB, 0),
    ]  # fmt: skip
    assert found.stacks["growth"].to_list() == [2, 0] and found.most_growth == 2 and found.cache == 50 * MB
    kept = diff([snapshot(before), snapshot([(*before[0][:4], MB)])])
    assert kept.owners.select("pages", "change", "growth").row(0) == ([3 * MB, 3 * MB], 0, 2 * MB)
    assert kept.cache == 0 and kept.most_growth == 2 * MB


def test_what_a_snapshot_does_not_tell_is_asked_of_none() -> None:
    """Texts and snapshots of older versions do not say which page cache can be given back."""
    old, new = snapshot([("FILE_PAGE", "a", READ, 9, 9)]), snapshot([("FILE_PAGE", "a", READ, 12, 12)])
    old = replace(old, usage=old.usage.with_columns(reclaimable=pl.lit(None, pl.Int64)))
    assert diff([old, new]).owners.select("change", "growth").rows() == [(3, 3)]
    assert diff([new, old]).cache == 0


def test_steady_growers_come_first() -> None:
    def at(step: int) -> list[Row]:
        jump = 0 if step < 2 else 50 * MB
        return [
            ("SLAB_PAGE", "leak", SLAB, 10 + 5 * step),
            ("SLAB_PAGE", "jump", "f < g", 10 + jump),
            ("SLAB_PAGE", "wave", "h", 100 + 90 * (step % 2)),
            ("SLAB_PAGE", "same", "i", 7),
        ]

    found = diff([snapshot(at(step)) for step in range(4)]).owners
    assert found.select("owner", "steady", "growth").rows() == [
        ("leak", True, 15), ("jump", False, 50 * MB), ("wave", False, 90),
    ]  # fmt: skip
    assert found["pages"].to_list()[0] == [10, 15, 20, 25]


def test_kernels_with_other_offsets_and_suffixes_join() -> None:
    old = [("VMALLOC_PAGE", "pcpu_create_chunk+0xba", "vmalloc < pcpu_create_chunk", 5)]
    new = [("VMALLOC_PAGE", "pcpu_create_chunk_noprof.isra.0+0xc", "vmalloc < pcpu_create_chunk", 5)]
    assert diff([snapshot(old), snapshot(new)]).owners.is_empty()


words = st.sampled_from(["SLAB_PAGE", "ANON_PAGE", "FREE_PAGE"])
owners = st.sampled_from(["pid 1 (a)", "pid 2 (a)", "b", "c+0x1"])
memories = st.lists(st.tuples(words, owners, st.sampled_from(["", "f < g", "h"]), st.integers(1, 99)))


@given(memories, memories)
def test_laws(one: list[Row], two: list[Row]) -> None:
    a, b = snapshot(one), snapshot(two)
    same, there, back = diff([a, a]), diff([a, b]), diff([b, a])
    assert same.owners.is_empty() and same.stacks.is_empty() and same.kinds.is_empty()
    assert same.turnover == same.most_growth == 0
    used = [sum(pages for word, _, _, pages in rows if word != "FREE_PAGE") for rows in (one, two)]
    assert there.owners["change"].sum() == there.kinds["change"].sum() == used[1] - used[0]
    assert {row[:2]: -row[2] for row in back.owners.select("word", "owner", "change").rows()} == {
        row[:2]: row[2] for row in there.owners.select("word", "owner", "change").rows()
    }
    assert there.turnover == back.turnover
