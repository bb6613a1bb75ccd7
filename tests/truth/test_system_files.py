"""Whole tables against the kernel's own: kpageflags for every PFN, slabinfo for every cache, kpagecount."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
import pytest

from pageowner.api import Machine
from pageowner.kernel.folio import FolioCounts
from pageowner.kernel.process_memory import read_process_memory
from pageowner.snapshot.scan import open_scan
from pageowner.sources import open_core

# include/uapi/linux/kernel-page-flags.h; how large the folio is (head, tail, thp) is no matter of kinds.
KPF = {
    "slab": 7, "buddy": 10, "mmap": 11, "anon": 12, "swapcache": 13, "huge": 17,
    "nopage": 20, "ksm": 21, "offline": 23, "zero_page": 24, "pgtable": 26,
}  # fmt: skip

# Every cell of the table (our kind by what /proc/kpageflags says) that makes sense.
ANON_CELLS = {"mmap anon", "anon", "mmap anon swapcache", "anon swapcache"}
CACHE_CELLS = {"", "mmap"}
ALLOWED: dict[str, set[str]] = {
    "FREE_PAGE": {"buddy", ""},  # the flag is on the first page of a block only
    "PCP_FREE_PAGE": {"", "buddy"},  # pages move between the free lists without a new record
    "SLAB_PAGE": {"slab"},
    "ANON_PAGE": ANON_CELLS,
    "SWAPCACHE_PAGE": ANON_CELLS | {"swapcache", "mmap swapcache"},
    "KSM_PAGE": {"mmap anon ksm", "mmap anon"},
    "FILE_PAGE": CACHE_CELLS,
    "SHMEM_PAGE": CACHE_CELLS,
    "BDEV_PAGE": CACHE_CELLS,
    "SECRETMEM_PAGE": {"mmap"},
    "AIO_RING_PAGE": {"mmap"},
    "HUGETLB_PAGE": {"huge", "mmap huge", "mmap anon huge"},
    "ZERO_PAGE": {"zero_page"},
    "HUGE_ZERO_PAGE": {"zero_page"},
    "PAGE_TABLE_PAGE": {"pgtable", ""},  # the upper levels, and the kernel's own, have no type
    "OFFLINE_PAGE": {"offline", "nopage", ""},  # of a balloon; of a memory block, and the same in 7.2
    "RESERVED_PAGE": {"", "nopage"},
    "KERNEL_IMAGE_PAGE": CACHE_CELLS,  # the vdso is mapped
    "ZSMALLOC_PAGE": CACHE_CELLS,  # until 6.11 zsmalloc keeps an offset where mapcounts are
    "IO_URING_PAGE": CACHE_CELLS,
    "PERF_PAGE": CACHE_CELLS,
    "BPF_PAGE": CACHE_CELLS,
    "VMALLOC_PAGE": CACHE_CELLS,
    "RING_BUFFER_PAGE": CACHE_CELLS,
    "SOCKET_PAGE": CACHE_CELLS,  # rings of packet sockets are mapped
}
REST = {""}


@pytest.fixture(scope="module")
def pages(capture: Any) -> pl.DataFrame:
    """The kind of every page: ``pfn``, ``word``."""
    runs = Machine(open_core(capture.core)).pages()
    each = runs.select(pl.int_ranges("pfn", pl.col("pfn") + pl.col("n")).alias("pfn"), "word").explode("pfn")
    return each.sort("pfn")


def cells(words: np.ndarray) -> list[str]:
    """The names of the flags that matter in each kpageflags word."""
    unique, inverse = np.unique(words, return_inverse=True)
    names = [cell(int(word)) for word in unique]
    if any("slab" in name and "ksm" in name for name in names):
        # Debian's 6.12 takes every anon mapping, and the words of slabs, for KSM's (fs/proc/page.c).
        names = [name.replace(" ksm", "") for name in names]
    names = ["slab" if name.startswith("slab") else name for name in names]
    return [names[i] for i in inverse]


def cell(word: int) -> str:
    return " ".join(name for name, bit in KPF.items() if word >> bit & 1)


def test_every_page_has_one_kind(pages: pl.DataFrame) -> None:
    assert pages.get_column("pfn").is_unique().all()
    assert pages.height >= 65536


def test_kpageflags_by_kind(capture: Any, pages: pl.DataFrame) -> None:
    flags = np.frombuffer(capture.read("kpageflags.bin"), np.uint64)
    mine = pages.filter(pl.col("pfn") < len(flags))
    table = mine.with_columns(pl.Series("cell", cells(flags[mine.get_column("pfn").to_numpy()])))
    # Pages that changed hands between the file and the freeze: their record is younger than the file.
    settled = table.filter(~pl.col("pfn").is_in(changed_since(capture)))
    assert settled.height > 0.99 * table.height
    counts = settled.group_by("word", "cell").agg(pl.len().alias("pages"))
    wrong = [row for row in counts.iter_rows() if row[1] not in ALLOWED.get(row[0], REST)]
    assert sum(row[2] for row in wrong) <= capture.changes, wrong


def changed_since(capture: Any) -> list[int]:
    """Pages that were allocated or freed after the workload stood still, by their records' times, if any."""
    if not capture.has("page_owner.txt"):
        return taken_since(capture)
    scan, start = open_scan(open_core(capture.core)), _start(capture)
    changed: list[int] = []
    for section in scan.run():
        records = section.records
        if records is None:
            assert not section.pages.section.online  # the table goes with the memory block
            continue
        if "ts_nsec" not in (records.rows.dtype.names or ()):
            return []
        late = (records.rows["ts_nsec"] > start) | (records.rows["free_ts_nsec"] > start)
        changed += section.pages.pfn[late].tolist()
    return changed


def taken_since(capture: Any) -> list[int]:
    """Without records: pages that were in no use when kpageflags was saved, and are now those of a slab (or
    guard pages beside it), or mapped by what saved the files. These are few."""
    kernel = open_core(capture.core)
    flags = np.frombuffer(capture.read("kpageflags.bin"), np.uint64)
    count = np.frombuffer(capture.read("kpagecount.bin"), np.uint64)
    names = cells(flags)
    unused = np.isin(names, ["", "buddy", "pgtable"]) & (count == 0)
    young = ["SLAB_PAGE", "LARGE_KMALLOC_PAGE", "GUARD_PAGE"]
    taken_up = Machine(kernel).pages().filter(pl.col("word").is_in(young))
    rows = taken_up.select("pfn", "n", "word").iter_rows()
    each = [(pfn + i, word) for pfn, n, word in rows for i in range(n) if pfn + i < len(flags)]
    now = [pfn for pfn, word in each if names[pfn] == "buddy" or (word == "SLAB_PAGE" and unused[pfn])]
    memory = kernel.memo(read_process_memory)
    found = memory.mappings.of_blocks(np.array([0]), np.array([len(flags)]))
    saver = memory.mms.lowest_tgid[found.mm] == 1
    for pfn, n in zip(found.pfn[saver].tolist(), found.n[saver].tolist(), strict=True):
        now += range(pfn, pfn + n)
    taken = [pfn for pfn in now if pfn < len(flags) and unused[pfn]]
    assert len(taken) <= 64
    return taken


def _start(capture: Any) -> int:
    """When the files began to be saved, in ns: after the last record of a workload process."""
    stamps = re.findall(rb"\((?:w_[^)]*|workload[^)]*)\), ts (\d+) ns", capture.read("page_owner.txt"))
    return max((int(stamp) for stamp in stamps), default=0)


def test_slab_pages_equal_slabinfo(capture: Any) -> None:
    runs = Machine(open_core(capture.core)).pages().filter(pl.col("word") == "SLAB_PAGE")
    ours = dict(runs.group_by("owner").agg(pl.col("n").sum()).iter_rows())
    theirs = {}
    for line in capture.text("slabinfo.txt").splitlines()[2:]:
        fields = line.split()
        # Caches of one name are several where none are merged: a zspage's of each pool.
        theirs[fields[0]] = theirs.get(fields[0], 0) + int(fields[5]) * int(fields[14])
    assert len(theirs) > 80 and set(ours) <= set(theirs) | aliases(capture)
    differ = {name for name, pages in theirs.items() if ours.get(name, 0) != pages}
    # What was saved after slabinfo needed inodes and the like: a few caches, and their pages' records say so.
    changed = set(changed_since(capture))
    for name in differ:
        cache = runs.filter(pl.col("owner") == name)
        young = sum(pfn + i in changed for pfn, n in cache.select("pfn", "n").iter_rows() for i in range(n))
        assert abs(ours.get(name, 0) - theirs[name]) <= max(young, capture.changes), name
    assert len(differ) <= 3, differ


def aliases(capture: Any) -> set[str]:
    text = capture.text("slab_aliases.txt") if capture.has("slab_aliases.txt") else ""
    return {word for line in text.splitlines() for word in line.split()}


def test_mapcounts_equal_kpagecount(capture: Any, pages: pl.DataFrame) -> None:
    kernel = open_core(capture.core)
    scan, memory = open_scan(kernel), kernel.memo(read_process_memory)
    theirs = np.frombuffer(capture.read("kpagecount.bin"), np.uint64).astype(np.int64)
    changed = set(changed_since(capture))
    wrong = []
    for section in scan.run():
        start, n = section.pages.section.start, section.pages.section.n
        ours = memory.mappings.mapcounts(start, n).astype(np.int64)
        known = theirs[start : start + n]
        differ = np.flatnonzero((ours[: len(known)] != known) & section.pages.valid[: len(known)])
        wrong += [start + int(i) for i in differ if start + int(i) not in changed]
    # Until 6.11 zsmalloc keeps an offset in the word, which the kernel then takes for a count.
    zsmalloc = set(pages.filter(pl.col("word") == "ZSMALLOC_PAGE").get_column("pfn").to_list())
    assert len(set(wrong) - zsmalloc) <= capture.changes


def test_folio_mapcount_is_that_of_the_page_tables(capture: Any) -> None:
    kernel = open_core(capture.core)
    memory, folios = kernel.memo(read_process_memory), FolioCounts(kernel)
    for section in open_scan(kernel).run():
        start, n = section.pages.section.start, section.pages.section.n
        stored = folios.mapcounts(section.pages)
        by_page = memory.mappings.mapcounts(start, n)
        heads = section.pages.heads
        single = np.flatnonzero((heads.n == 1) & (heads.type == 0) & (heads.pfn >= start))
        word = section.layer[heads.pfn[single] - start]
        mapped = np.isin(
            word,
            [r.number for r in open_scan(kernel).runs if r.word in ("ANON_PAGE", "FILE_PAGE", "SHMEM_PAGE")],
        )
        rows = single[mapped]
        assert (stored[rows] == by_page[heads.pfn[rows] - start]).all()
