# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages behind file descriptors, in the swap cache, in compressed swap and in rings: as the workload and the
kernel's own records have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pageowner.snapshot.scan import Scan, open_scan
from pageowner.sources import open_core

FIELD = re.compile(r"(\w+)=(\S+)")
# The workload's word -> ours. A page of a file or of a process in a pipe stays what it is.
WORDS = {
    "pipe": {"PIPE_PAGE"},
    "pipe_file": {"FILE_PAGE"},
    "pipe_anon": {"ANON_PAGE"},
    "aio_ring": {"AIO_RING_PAGE"},
    "io_uring": {"IO_URING_PAGE"},
    "io_uring_buffer": {"ANON_PAGE"},
    "perf": {"PERF_PAGE"},
    "ring_buffer": {"RING_BUFFER_PAGE"},
    "socket": {"SOCKET_PAGE"},
    # 6.1 takes a page out of the pool when it hands it to the network stack.
    "page_pool": {"PAGE_POOL_PAGE", "SOCKET_PAGE"},
    "packet_ring": {"SOCKET_PAGE"},
    "secretmem": {"SECRETMEM_PAGE"},
}
PROTOCOLS = {"unix_stream": "unix", "unix_dgram": "unix", "tcp": "tcp", "udp": "udp"}
# A function in the stack of an allocation -> what all pages of such allocations must be.
ALLOCATORS = {
    "__rb_allocate_pages": {"RING_BUFFER_PAGE"},
    "__ring_buffer_alloc": {"RING_BUFFER_PAGE"},
    "alloc_buffer": {"RING_BUFFER_PAGE"},
    "allocate_cmdlines_buffer": {"RING_BUFFER_PAGE"},
    "rb_allocate_cpu_buffer": {"RING_BUFFER_PAGE"},
    "vring_alloc_queue": {"DMA_PAGE"},
    "vring_alloc_queue_split": {"DMA_PAGE"},
    "zs_malloc": {"ZSMALLOC_PAGE"},
    "blk_mq_alloc_map_and_rqs": {"BLK_MQ_PAGE"},
    "__blk_mq_alloc_map_and_request": {"BLK_MQ_PAGE"},
    "pipe_write": {"PIPE_PAGE"},
    "anon_pipe_write": {"PIPE_PAGE"},
    "perf_mmap_alloc_page": {"PERF_PAGE"},
    "rb_alloc": {"PERF_PAGE"},
    "io_pages_map": {"IO_URING_PAGE"},
    "io_uring_setup": {"IO_URING_PAGE"},  # 5.10
    "io_create_region": {"IO_URING_PAGE"},  # 7.2
    "ioctx_alloc": {"AIO_RING_PAGE"},
    "__x64_sys_io_setup": {"AIO_RING_PAGE"},
    "secretmem_fault": {"SECRETMEM_PAGE"},
    "sock_alloc_send_pskb": {"SOCKET_PAGE"},
    "packet_set_ring": {"SOCKET_PAGE"},
    "skb_page_frag_refill": {"SOCKET_PAGE"},
    "page_pool_alloc_pages": {"PAGE_POOL_PAGE", "SOCKET_PAGE"},
    "__page_pool_alloc_pages_slow": {"PAGE_POOL_PAGE", "SOCKET_PAGE"},
}
# What such allocations also need; and a record may be older than the dump.
BESIDES = {"SLAB_PAGE", "PAGE_TABLE_PAGE", "FREE_PAGE", "PCP_FREE_PAGE"}


class Named:
    """A whole core: the word and the owner of every page."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self._layer: dict[int, Any] = {}
        self.sections = list(scan.run())
        for section in self.sections:
            self._layer[section.pages.section.start] = (section.layer, section.owner_rows())

    def of(self, pfn: int) -> tuple[str, str]:
        start = max(s for s in self._layer if s <= pfn)
        layers, rows = self._layer[start]
        run = self.scan.by_number(int(layers[pfn - start]))
        return run.word, str(run.owners.frame["owner"][int(rows[pfn - start])])

    def pages(self, word: str) -> int:
        run = next(run for run in self.scan.all_runs if run.word == word)
        return sum(int((layers == run.number).sum()) for layers, _ in self._layer.values())

    def run(self, word: str) -> Any:
        return next(run for run in self.scan.runs if run.word == word)


@pytest.fixture(scope="module")
def named(capture: Any) -> Named:
    return Named(open_scan(open_core(capture.core)))


def told(capture: Any) -> list[dict[str, str]]:
    """The fields of all lines of what the workload made."""
    lines = capture.text("truth.txt").splitlines()
    return [dict(FIELD.findall(line)) for line in lines if line.startswith("TRUTH ")]


def truths(capture: Any, kind: str) -> list[dict[str, str]]:
    """The workload's lines of pages of *kind* that are in memory; skips where it could not make them."""
    made = [fields for fields in told(capture) if fields["kind"] == kind]
    found = [fields for fields in made if fields.get("pfn", "none") != "none"]
    if not found:
        pytest.skip(f"the workload of this capture made no {kind}")
    return found


def is_a_copy(capture: Any, named: Named, kind: str, truth: dict[str, str]) -> bool:
    """Whether a page that holds a marker may be just a copy of the one that is meant. Records tell, or else
    that another page with that marker is what the workload made."""
    if capture.has("page_owner.txt") or "marker" not in truth:
        return False
    alike = [t for t in truths(capture, kind) if t.get("marker") == truth["marker"]]
    right = [t for t in alike if named.of(int(t["pfn"], 16))[0] in WORDS[kind]]
    return bool(right) and truth not in right


@pytest.mark.parametrize("kind", WORDS)
def test_pages_of_the_workload(kind: str, capture: Any, named: Named) -> None:
    for truth in truths(capture, kind):
        if is_a_copy(capture, named, kind, truth):
            continue
        word, owner = named.of(int(truth["pfn"], 16))
        assert word in WORDS[kind], truth
        if word in ("PIPE_PAGE", "IO_URING_PAGE", "PERF_PAGE"):
            assert owner.startswith(f"pid {truth['pid']} (w_"), truth
        if word == "SOCKET_PAGE":
            assert f" pid {truth['pid']} (w_" in owner, truth
        if kind == "socket":
            assert owner.startswith(PROTOCOLS[truth["name"]] + " "), truth
        if kind == "ring_buffer":
            assert owner == truth["name"]


def test_no_layer_failed_and_nothing_is_stale(named: Named) -> None:
    assert {run.word: run.failed for run in named.scan.runs if run.failed} == {}
    assert named.scan.coverage.stale == 0


def test_what_is_only_held_is_counted(capture: Any, named: Named) -> None:
    held = len(truths(capture, "pipe_file")) + len(truths(capture, "pipe_anon"))
    assert named.run("PIPE_PAGE").users == held
    assert named.run("IO_URING_PAGE").users == len(truths(capture, "io_uring_buffer"))


def vmstat(capture: Any, name: str) -> int:
    return int(re.search(rf"^{name} (\d+)$", capture.text("vmstat.txt"), re.M)[1])


def test_zsmalloc_is_what_the_kernel_counts(capture: Any, named: Named) -> None:
    assert named.pages("ZSMALLOC_PAGE") == vmstat(capture, "nr_zspages") > 0
    owners = named.run("ZSMALLOC_PAGE").owners.frame
    kinds = {fields["kind"] for fields in told(capture)}
    used = {user for user, kind in (("zram", "swap_zram"), ("zswap", "zswap")) if kind in kinds}
    assert set(owners["user"]) == used
    assert "zram0" in owners["owner"].to_list()


def test_swap_cache_is_what_the_kernel_counts(capture: Any, named: Named) -> None:
    told = re.search(r"^SwapCached: +(\d+) kB$", capture.text("meminfo.txt"), re.M)
    assert named.pages("SWAPCACHE_PAGE") * 4 == int(told[1]) > 0  # type: ignore[index]
    areas = {line.split()[0] for line in capture.text("swaps.txt").splitlines()[1:]}
    assert set(named.run("SWAPCACHE_PAGE").owners.frame["path"]) <= areas


def test_whose_the_pages_in_the_swap_cache_are(capture: Any, named: Named) -> None:
    """Also of those that nobody maps: whose page tables have their slot."""
    pids = {}
    for line in capture.text("truth.txt").splitlines():
        fields = dict(FIELD.findall(line))
        if "swap" in fields:
            pids[tuple(int(part) for part in fields["swap"].split(":"))] = fields["pid"]
    types = {line.split()[0]: n for n, line in enumerate(capture.text("swaps.txt").splitlines()[1:])}
    run, checked = named.run("SWAPCACHE_PAGE"), 0
    for section in named.sections:
        mine = section.layer == run.number
        offsets = section.claims[run.number].columns["offset"][section.claim[mine]] if mine.any() else []
        for offset, row in zip(offsets, section.owner_rows()[mine], strict=True):
            owner = run.owners.frame.row(int(row), named=True)
            place = (types[owner["path"]], int(offset))
            if place in pids:
                assert owner["owner"].startswith(f"pid {pids[place]} (w_"), place
                checked += 1
    assert checked > 5


def records(text: str) -> Iterator[tuple[int, int, set[str]]]:
    """(first PFN, pages, functions of the stack) of each record of the kernel's text."""
    for block in text.split("\n\n"):
        order = re.search(r"via order (\d+),", block)
        pfn = re.search(r"^PFN (0x[0-9a-f]+|\d+) ", block, re.M)
        if order and pfn:
            functions = set(re.findall(r"^ ([\w.]+)\+0x", block, re.M))
            yield int(pfn[1], 0), 1 << int(order[1]), functions


def test_every_allocation_of_a_kind_has_its_name(capture: Any, named: Named) -> None:
    capture.need_records()
    met: Counter[str] = Counter()
    wrong = []
    for pfn, n, functions in records(capture.text("page_owner.txt")):
        for function in functions & ALLOCATORS.keys():
            met[function] += n
            words = {named.of(page)[0] for page in range(pfn, pfn + n)}
            if not words <= ALLOCATORS[function] | BESIDES:
                wrong.append((hex(pfn), n, function, words))
    assert not wrong
    assert met["vring_alloc_queue"] or met["vring_alloc_queue_split"]
    assert met["zs_malloc"]


def test_the_allocator_of_every_page_of_a_kind(capture: Any, named: Named) -> None:
    """The other way round: what we call a ring was allocated as one."""
    capture.need_records()
    of_word: dict[str, set[str]] = {}
    for function, words in ALLOCATORS.items():
        for word in words:
            of_word.setdefault(word, set()).add(function)
    checked: Counter[str] = Counter()
    for pfn, n, functions in records(capture.text("page_owner.txt")):
        early = "register_early_stack" in functions
        for page in range(pfn, pfn + n):
            word = named.of(page)[0]
            if word in of_word and not early:
                checked[word] += 1
                assert functions & of_word[word], (hex(page), word, functions)
    assert checked["DMA_PAGE"] and checked["ZSMALLOC_PAGE"] and checked["BLK_MQ_PAGE"] > 100


def test_lines_are_whole(named: Named) -> None:
    """Every owner has all the columns that its layer's line names."""
    from pageowner.layers.line import line_columns

    engine = {"pfn", "page", "mapcount", "refcount", "start", "end", "by_pid"}
    for word in ("PIPE_PAGE", "SOCKET_PAGE", "DMA_PAGE", "RING_BUFFER_PAGE", "ZSMALLOC_PAGE"):
        run = named.run(word)
        if not run.owners.frame.height:
            continue
        mine = line_columns(run.layer.line) - engine
        assert mine <= set(run.owners.frame.columns), word
        assert np.all([run.owners.frame[c].null_count() == 0 for c in mine]), word
