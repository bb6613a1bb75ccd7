# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every page has a name, the sums close to the last page, and the kernel's counters are all explained."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest

from pageowner.analyses.balance import FORMULAS, balance
from tests.layers.painted import Painted, paint


def test_every_counter_is_explained(painted: Painted) -> None:
    rows = painted.balance
    wrong = rows.filter(pl.col("unexplained") != 0)
    if not painted.records:  # large kmalloc is untyped until 6.17: without records nobody knows it
        large = wrong.filter(name="SUnreclaim")["unexplained"].sum()
        assert 0 <= large <= painted.terms["UNOWNED_PAGE"]
        wrong = wrong.filter(pl.col("name") != "SUnreclaim")
    assert wrong.rows() == []
    names = set(rows["name"])
    # What all have; a counter that cannot be read would else vanish without a word. 5.10 has no NR_SWAPCACHE.
    assert len(names | {"SwapCached"}) >= 27 + painted.records
    assert {"MemTotal", "AnonPages", "Mapped", "Shmem", "SUnreclaim", "Percpu", "VmallocUsed"} <= names


def test_all_kinds_sum_to_the_struct_pages(painted: Painted) -> None:
    words = {run.word for run in painted.scan.all_runs}
    kinds = sum(pages for term, pages in painted.terms.items() if term in words)
    assert kinds == painted.terms["struct pages"] == painted.pages.height
    assert painted.pages["pfn"].is_unique().all()


def test_no_page_is_without_a_name(painted: Painted) -> None:
    words = set(painted.pages["word"].unique())
    assert not words & {"OTHER_PAGE", "UNKNOWN_PAGE", "NO_STACK_PAGE"}
    assert "UNOWNED_PAGE" not in words or not painted.records
    recorded = painted.pages.filter("recorded").height
    assert painted.of("ALLOC_PAGE").height <= 0.03 * recorded
    assert painted.of("EARLY_PAGE").height <= 20  # of some 1,200 early records
    unnamed = painted.of("RESERVED_PAGE").filter(pl.col("owner") == "unknown").height
    assert unnamed <= 0.02 * painted.counters["present"]


def test_totals_are_those_of_proc(capture: Any, painted: Painted) -> None:
    meminfo = dict(re.findall(r"^(\S+): +(\d+) kB$", capture.text("meminfo.txt"), re.M))
    ours = painted.terms["RAM not reserved"] - painted.terms["typed offline"]
    assert ours * 4 == int(meminfo["MemTotal"])
    zoneinfo = capture.text("zoneinfo.txt")
    present = sum(int(n) for n in re.findall(r"^ +present +(\d+)$", zoneinfo, re.M))
    managed = sum(int(n) for n in re.findall(r"^ +managed +(\d+)$", zoneinfo, re.M))
    assert (painted.terms["RAM"], ours) == (present, managed)


def test_counters_are_those_of_proc_up_to_what_happened_since(capture: Any, painted: Painted) -> None:
    """The files were saved seconds before the guest was frozen; a wrong counter would be far off."""
    vmstat = dict(re.findall(r"^(\S+) (\d+)$", capture.text("vmstat.txt"), re.M))
    pairs = {
        "nr_free_pages": "NR_FREE_PAGES", "nr_anon_pages": "NR_ANON_MAPPED", "nr_mapped": "NR_FILE_MAPPED",
        "nr_file_pages": "NR_FILE_PAGES", "nr_shmem": "NR_SHMEM", "nr_zspages": "NR_ZSPAGES",
        "nr_page_table_pages": "NR_PAGETABLE", "nr_slab_unreclaimable": "NR_SLAB_UNRECLAIMABLE_B",
        "nr_slab_reclaimable": "NR_SLAB_RECLAIMABLE_B", "nr_mlock": "NR_MLOCK",
    }  # fmt: skip
    for theirs, ours in pairs.items():
        assert painted.counters[ours] == pytest.approx(int(vmstat[theirs]), rel=0.05, abs=64), theirs


def test_structures_name_the_same_pages_without_records(capture: Any, painted: Painted) -> None:
    """With page_owner off only what a record alone can tell is lost, and it is counted."""
    if not painted.records:
        pytest.skip("page_owner is off in this capture")
    off = paint(capture.core, records=False)
    both = painted.pages.join(off.pages, on="pfn", suffix="_off")
    by_record = pl.col("word").is_in(["ALLOC_PAGE", "EARLY_PAGE", "LARGE_KMALLOC_PAGE"])
    named = both.filter(~by_record)
    assert (
        named.filter((pl.col("word") != pl.col("word_off")) | (pl.col("owner") != pl.col("owner_off"))).rows()
        == []
    )
    untold = both.filter(by_record)
    if painted.kernel.constant("PGTY_large_kmalloc") is not None:  # which needs no record
        assert set(untold.filter(word="LARGE_KMALLOC_PAGE")["word_off"]) == {"LARGE_KMALLOC_PAGE"}
        untold = untold.filter(pl.col("word") != "LARGE_KMALLOC_PAGE")
    assert set(untold["word_off"].unique()) == {"UNOWNED_PAGE"}
    assert off.terms["UNOWNED_PAGE"] == untold.height


def test_a_formula_lacking_its_counter_is_left_out() -> None:
    counters, terms = {"NR_SHMEM": 7, "NR_ZSPAGES": 1}, {"SHMEM_PAGE": 5}
    assert balance(counters, terms).rows() == [("Shmem", 7, 5, "SHMEM_PAGE", 2)]


def test_formulas_subtract_and_say_so() -> None:
    stack = next(f for f in FORMULAS if f.name == "KernelStack")
    assert stack.text == "stacks of tasks - stack of init_task"
    counters = {"NR_KERNEL_STACK_KB": 8}
    terms = {"stacks of tasks": 12, "stack of init_task": 4}
    assert balance(counters, terms).row(0)[1:3] == (8, 8)
