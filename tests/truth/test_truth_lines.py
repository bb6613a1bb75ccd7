"""Every page that the workload told of is what it said: kind, file, index, and where it is mapped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from pageowner.kernel.process_memory import read_process_memory
from pageowner.snapshot.lines import OwnerLines
from pageowner.snapshot.scan import open_scan
from pageowner.sources import open_core

# What the workload calls its pages, and what they may be by now: a merged page may not be merged yet,
# a page that was swapped in may still have its slot in the swap cache.
ANON = {"ANON_PAGE"}
ANON_OR_CACHE = {"ANON_PAGE", "SWAPCACHE_PAGE"}
SHMEM = {"SHMEM_PAGE"}
FILE = {"FILE_PAGE"}
KINDS: dict[str, set[str]] = {
    "allocator_exited": ANON,
    "anon": ANON,
    "anon_every_other": ANON,
    "anon_far": ANON,
    "anon_la57": ANON,
    "anon_mlock": ANON,
    "anon_mremap": ANON,
    "anon_odd_comm": ANON,
    "anon_prot_none": ANON,
    "bdev": {"BDEV_PAGE"},
    "clone_vm": ANON,
    "file_cow": ANON,
    "file_deleted": FILE,
    "file_private": FILE,
    "file_shared": FILE,
    "file_unmapped": FILE,
    "fork_cow": ANON,
    "fork_parent": ANON,
    "fork_shared": ANON,
    "huge_zero": {"HUGE_ZERO_PAGE"},
    "hugetlb_file": {"HUGETLB_PAGE"},
    "hugetlb_private": {"HUGETLB_PAGE"},
    "ksm": {"KSM_PAGE", "ANON_PAGE"},
    "leader_exited": ANON,
    "memfd": SHMEM,
    "overlay": FILE,
    "reused_pid_new": ANON,
    "reused_pid_old": SHMEM | ANON,
    "secretmem": {"SECRETMEM_PAGE"},
    "shared_anon": SHMEM,
    "swap_disk_back": ANON_OR_CACHE,
    "swap_file_back": ANON_OR_CACHE,
    "swap_shmem_back": SHMEM,
    "swap_zram_back": ANON_OR_CACHE,
    "sysv": SHMEM,
    "thp": ANON,
    "thp_pte": ANON,
    "thp_shmem": SHMEM,
    "thp_split": ANON,
    "thread": ANON,
    "tmpfs": SHMEM,
    "tmpfs_deleted": SHMEM,
    "tmpfs_unmapped": SHMEM,
    "zero": {"ZERO_PAGE"},
    "zswap_back": ANON_OR_CACHE,
}
FIELD = re.compile(r"(\w+)=(\S+)")


@dataclass(frozen=True)
class Truth:
    kind: str
    pfn: int
    fields: dict[str, str]


def truths(text: str) -> list[Truth]:
    """The TRUTH lines of pages that are in memory."""
    found = []
    for line in text.splitlines():
        fields = dict(FIELD.findall(line)) if line.startswith("TRUTH ") else {}
        if fields.get("pfn", "none") != "none":
            found.append(Truth(fields["kind"], int(fields["pfn"], 16), fields))
    return found


@pytest.fixture(scope="module")
def lines(capture: Any) -> dict[int, str]:
    """The owner line of every page, by PFN."""
    scan = open_scan(open_core(capture.core))
    writer, found = OwnerLines(scan), {}
    for section in scan.run():
        pfns = section.pages.pfn[section.pages.valid]
        table = pl.DataFrame({"pfn": pfns, "n": np.ones(len(pfns), np.int64)})
        found |= dict(zip(pfns.tolist(), writer.of_pages(section, table).to_list(), strict=True))
    return found


def test_kind_of_every_truth_line(capture: Any, lines: dict[int, str]) -> None:
    told = [t for t in truths(capture.text("truth.txt")) if t.kind in KINDS]
    assert len({t.kind for t in told}) >= 40
    wrong = [(t, lines[t.pfn]) for t in told if lines[t.pfn].split()[0] not in KINDS[t.kind]]
    assert not wrong


def test_file_identity_of_every_truth_line(capture: Any, lines: dict[int, str]) -> None:
    told = [t for t in truths(capture.text("truth.txt")) if "ino" in t.fields and "index" in t.fields]
    assert len(told) > 40
    for truth in told:
        wanted = f" dev {truth.fields['dev']} ino:{truth.fields['ino']} index:{truth.fields['index']} "
        assert wanted in lines[truth.pfn], truth


def test_names_of_shared_memory(capture: Any, lines: dict[int, str]) -> None:
    named = [t for t in truths(capture.text("truth.txt")) if t.kind in ("memfd", "sysv", "thp_shmem")]
    assert named
    for truth in named:
        assert lines[truth.pfn].endswith("name:" + truth.fields["name"].replace(r"\040", " ")), truth


def test_every_truth_line_is_mapped_where_it_says(capture: Any) -> None:
    memory = open_core(capture.core).memo(read_process_memory)
    told = [t for t in truths(capture.text("truth.txt")) if "va" in t.fields]
    pfn = np.array([t.pfn for t in told])
    found = memory.mappings.of_blocks(pfn, np.ones(len(pfn), np.int64))
    group = [set(memory.mms.pair_tgid[memory.mms.pair_mm == mm].tolist()) for mm in range(len(memory.mms))]
    have = set()
    for block, mm, va, repeat in zip(found.block, found.mm, found.va, found.repeat, strict=True):
        for nth in range(int(repeat)):
            have |= {(int(block), pid, int(va) + 4096 * nth) for pid in group[int(mm)]}
    wanted = {(i, int(t.fields["pid"]), int(t.fields["va"], 16)) for i, t in enumerate(told)}
    assert not wanted - have
