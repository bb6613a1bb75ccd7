# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real kernels: our mappings, VMAs and tasks are those that the kernel itself told, in both directions."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

import drgn.helpers.linux.mm as drgn_mm
import numpy as np
import numpy.typing as npt
import pytest

from pageowner.kernel.mapping import MIGRATING, REPEAT, Mappings, expand
from pageowner.kernel.mm import Mms, read_mms
from pageowner.kernel.pagetable.invert import Counts, invert
from pageowner.kernel.pagetable.kernel_half import kernel_mappings, kernel_ranges, virt_to_pfns
from pageowner.kernel.pagetable.tables import TablePages
from pageowner.kernel.pagetable.unwalked import unwalked_tables
from pageowner.kernel.pagetable.x86_64 import x86_64
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel
from pageowner.kernel.task import Tasks, read_tasks
from pageowner.kernel.vma import VM_EXEC, VM_MAYSHARE, VM_PFNMAP, VM_READ, VM_WRITE, Vmas, read_vmas
from pageowner.sources.opening import open_core
from tests.conftest import Capture

PAGEMAP = np.dtype([("tgid", "<u8"), ("va", "<u8"), ("entry", "<u8")])
PRESENT, SWAPPED = np.uint64(1 << 63), np.uint64(1 << 62)
PFN_MASK = np.uint64((1 << 55) - 1)
# These are at work while the capture is taken.
BUSY = {"save", "init"}


@dataclass
class World:
    kernel: Kernel
    tasks: Tasks
    mms: Mms
    mappings: Mappings
    tables: TablePages
    counts: Counts
    vmas: Vmas


@cache
def opened(path: str) -> World:
    kernel = open_core(path)
    tasks, sections = read_tasks(kernel), read_sections(kernel)
    mms = read_mms(kernel, tasks, sections.vmemmap, sections.page_size)
    found = invert(kernel.read_phys, x86_64(kernel), mms.pgd_pfn, int(kernel.object("max_pfn")))
    return World(kernel, tasks, mms, *found, read_vmas(kernel, mms))


@pytest.fixture
def world(capture: Capture) -> World:
    return opened(str(capture.core))


def proc_files(capture: Capture, name: str) -> dict[int, list[str]]:
    """``/proc/PID/NAME`` of every process."""
    pieces = re.split(r"^==> /proc/(\d+)/(\S+) <==\n", capture.text("proc.txt"), flags=re.MULTILINE)
    files = zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True)
    return {int(pid): text.splitlines() for pid, file, text in files if file == name}


def busy(world: World) -> set[int]:
    names = zip(world.tasks.rows["tgid"].tolist(), world.tasks.comm, strict=True)
    return {tgid for tgid, comm in names if comm in BUSY}


def pagemap(capture: Capture) -> npt.NDArray[np.void]:
    return np.frombuffer(capture.read("pagemap.bin"), PAGEMAP)


def ours(world: World) -> dict[int, dict[int, int]]:
    """mm -> {address: PFN}, one per page; migrating pages are "swapped" to pagemap, which passes over what
    drivers mapped by PFN (rings of io_uring until 6.9, perf's since 6.14)."""
    found = world.mappings.of_blocks(np.array([0]), np.array([1 << 40]))
    by_pfn = world.vmas.has(VM_PFNMAP)[world.vmas.find(found.mm, found.va)]
    found = found.take(np.flatnonzero(((found.flags & MIGRATING) == 0) & ~by_pfn))
    again = (found.flags & REPEAT) != 0
    row, nth = expand(np.zeros(len(found), np.int64), np.where(again, found.repeat, found.n))
    va = found.va[row] + (nth.astype(np.uint64) << np.uint64(12))
    pfn = found.pfn[row] + np.where(again[row], 0, nth)
    out: dict[int, dict[int, int]] = {}
    for mm, address, page in zip(found.mm[row].tolist(), va.tolist(), pfn.tolist(), strict=True):
        assert address not in out.setdefault(mm, {})
        out[mm][address] = page
    return out


def test_every_process_maps_what_its_pagemap_says(capture: Capture, world: World) -> None:
    records, mine = pagemap(capture), ours(world)
    compared = 0
    for mm, tgid in zip(world.mms.pair_mm.tolist(), world.mms.pair_tgid.tolist(), strict=True):
        if tgid in busy(world):
            continue
        rows = records[(records["tgid"] == tgid) & (records["entry"] & PRESENT != 0)]
        theirs = dict(zip(rows["va"].tolist(), (rows["entry"] & PFN_MASK).tolist(), strict=True))
        if not theirs and not proc_files(capture, "maps").get(tgid):
            continue  # the leader has exited: its pagemap is empty, its threads' is not
        assert told(world, mm, mine.get(mm, {}), theirs) == theirs, tgid
        compared += len(theirs)
    idle = ~np.isin(records["tgid"], list(busy(world)))
    assert compared == np.count_nonzero((records["entry"] & PRESENT != 0) & idle) > 1000


def told(world: World, mm: int, ours: dict[int, int], theirs: dict[int, int]) -> dict[int, int]:
    """*ours* without what pagemap leaves out, as it does with VMAs of bare PFNs (walk_page_test()).

    Such are the rings of io_uring in 5.10 and of perf in 7.2.
    """
    more = np.array(sorted(ours.keys() - theirs.keys()), np.uint64)
    row = world.vmas.find(np.full(len(more), mm, np.int64), more)
    bare = (row >= 0) & world.vmas.has(VM_PFNMAP)[row]
    return {va: pfn for va, pfn in ours.items() if va not in set(more[bare].tolist())}


def test_swap_entries_are_those_of_the_pagemap(capture: Capture, world: World) -> None:
    records = pagemap(capture)
    rows = records[(records["entry"] & (PRESENT | SWAPPED)) == SWAPPED]
    swap_type, offset = rows["entry"] & np.uint64(31), (rows["entry"] & PFN_MASK) >> np.uint64(5)
    files = world.kernel.object("nr_swapfiles").value_()
    real = swap_type < files
    theirs = set(
        zip(rows["tgid"][real].tolist(), rows["va"][real].tolist(), swap_type[real].tolist(),
            offset[real].tolist(), strict=True)
    )  # fmt: skip
    mine = set()
    for row in world.mappings.swaps[~world.mappings.swaps["poisoned"]]:
        for tgid in world.mms.pair_tgid[world.mms.pair_mm == row["mm"]].tolist():
            for k in range(int(row["n"])):
                mine.add((tgid, int(row["va"]) + k * 4096, int(row["type"]), int(row["offset"]) + k))
    left_out = busy(world)
    assert {entry for entry in mine if entry[0] not in left_out} == theirs
    assert theirs


def zspages(capture: Capture) -> set[int]:
    """Pages of zsmalloc, which keeps an offset in the word of _mapcount up to 6.10."""
    capture.need_records()
    records = capture.text("page_owner.txt").split("\n\n")
    zs = (record for record in records if "zs_malloc" in record)
    return {int(m[1], 0) for record in zs if (m := re.search(r"^PFN (\S+) ", record, re.MULTILINE))}


def test_mapcounts_are_kpagecount(capture: Capture, world: World) -> None:
    theirs = np.frombuffer(capture.read("kpagecount.bin"), "<u8").astype(np.int64)
    mine = world.mappings.mapcounts(0, len(theirs))
    skip = np.zeros(len(theirs), np.bool_)
    skip[list(zspages(capture))] = True
    for mm, pages in ours(world).items():
        if int(world.mms.lowest_tgid[mm]) in busy(world):
            skip[list(pages.values())] = True
    assert np.flatnonzero((theirs != mine) & ~skip).tolist() == []
    assert np.count_nonzero(theirs[~skip]) > 1000


def test_nothing_went_wrong(world: World) -> None:
    counts = world.counts
    assert (counts.unreadable, counts.repeated, counts.bad, counts.truncated) == (0, 0, 0, False)
    assert (world.tasks.broken, world.tasks.unreadable, world.mms.broken, world.mms.unreadable) == (
        0,
        0,
        0,
        0,
    )
    assert world.vmas.broken == 0


def test_table_pages_are_what_each_mm_has_been_charged(world: World) -> None:
    """``mm->pgtables_bytes`` counts PTE, PMD and PUD tables, those put by for huge pages too."""
    extra = unwalked_tables(world.kernel, read_sections(world.kernel), world.mms, world.tables)
    assert len(extra) > 0
    tables = TablePages.join([world.tables, extra])
    assert len(np.unique(tables.pfn)) == len(tables)
    pages = np.bincount(tables.mm[tables.level <= 3], minlength=len(world.mms))
    alive = world.mms.lowest_tgid >= 0
    assert (pages[alive] * 4096).tolist() == world.mms.rows["pgtables_bytes"][alive].tolist()


def test_vmas_are_those_of_proc_maps(capture: Capture, world: World) -> None:
    maps, compared = proc_files(capture, "maps"), 0
    for mm, tgid in zip(world.mms.pair_mm.tolist(), world.mms.pair_tgid.tolist(), strict=True):
        theirs = [parse_maps(line) for line in maps.get(tgid, []) if "[vsyscall]" not in line]
        if tgid in busy(world) or not theirs:
            continue
        mine = world.vmas.mm == mm
        bits = [np.where(world.vmas.has(b)[mine], c, "-").tolist() for b, c in PERMISSIONS]
        shared = np.where(world.vmas.has(VM_MAYSHARE)[mine], "s", "p").tolist()
        rows = world.vmas.rows[mine]
        flags = ["".join(letters) for letters in zip(*bits, shared, strict=True)]
        assert list(zip(rows["start"].tolist(), rows["end"].tolist(), flags, strict=True)) == theirs
        compared += len(theirs)
    assert compared > 100


PERMISSIONS = [(VM_READ, "r"), (VM_WRITE, "w"), (VM_EXEC, "x")]


def parse_maps(line: str) -> tuple[int, int, str]:
    where, flags = line.split()[:2]
    start, end = where.split("-")
    return int(start, 16), int(end, 16), flags


def test_every_mapped_address_lies_in_a_vma(world: World) -> None:
    found = world.mappings.of_blocks(np.array([0]), np.array([1 << 40]))
    vma = world.vmas.find(found.mm, found.va)
    assert (vma >= 0).all()
    # A run may go on into the next VMA.
    last = found.va + ((found.n - 1).astype(np.uint64) << np.uint64(12))
    assert (world.vmas.find(found.mm, last) >= 0).all()
    assert world.vmas.find(np.array([0]), np.array([0], np.uint64)).tolist() == [-1]


def test_tasks_are_those_of_proc(capture: Capture, world: World) -> None:
    rows = world.tasks.rows
    found = {
        int(pid): sorted(rows["pid"][rows["tgid"] == pid].tolist()) for pid in np.unique(rows["tgid"]) if pid
    }
    lists = proc_files(capture, "task")
    theirs = {pid: sorted(int(tid) for tid in " ".join(lines).split()) for pid, lines in lists.items()}
    # Kernel threads come and go, and zombies of the shell that runs the capture.
    kernel = set(rows["tgid"][world.tasks.is_kthread].tolist())
    assert {p: t for p, t in found.items() if p not in kernel} == {
        p: t for p, t in theirs.items() if p not in kernel and p in found
    }
    comm = dict(zip(rows["pid"].tolist(), world.tasks.comm, strict=True))
    status = proc_files(capture, "stat")
    for pid, lines in status.items():
        if pid in found and pid not in kernel:
            assert lines[0].split("(", 1)[1].rsplit(")", 1)[0] == comm[pid]


def test_idle_tasks_of_all_cpus_are_there(world: World) -> None:
    idle = [name for name, pid in zip(world.tasks.comm, world.tasks.rows["pid"], strict=True) if pid == 0]
    assert sorted(idle) == [f"swapper/{cpu}" for cpu in range(len(idle))]
    assert len(idle) == int(world.kernel.object("nr_cpu_ids"))


def test_start_times_are_those_of_proc(capture: Capture, world: World) -> None:
    """Field 22 of stat, in ticks of 10 ms."""
    start = dict(zip(world.tasks.rows["pid"].tolist(), world.tasks.rows["start_time"].tolist(), strict=True))
    compared = 0
    for pid, lines in proc_files(capture, "stat").items():
        if pid in start:
            ticks = int(lines[0].rsplit(")", 1)[1].split()[19])
            assert abs(start[pid] // 10_000_000 - ticks) <= 1
            compared += 1
    assert compared > 50


def test_kernel_addresses_as_drgn_walks_them(world: World) -> None:
    """Another program's walk of the same tables, address by address."""
    kernel = world.kernel
    init_mm = kernel.object("init_mm").address_of_()
    found = kernel_mappings(kernel)
    draw = random.Random(1)
    rows = draw.sample(range(len(found.va)), min(100, len(found.va)))
    addresses = [int(found.va[row]) + draw.randrange(int(found.n[row])) * 4096 + 8 for row in rows]
    symbols = kernel.symbols
    addresses += [symbols.lookup("_stext"), symbols.lookup("init_task"), kernel.page_offset + 0x5000]
    theirs = [int(drgn_mm.follow_phys(init_mm, address)) >> 12 for address in addresses]
    assert virt_to_pfns(kernel, np.array(addresses, np.uint64)).tolist() == theirs
    assert found.unreadable == 0


def test_addresses_that_lead_nowhere(world: World) -> None:
    start, end = kernel_ranges(world.kernel)[-1]
    hole = (int(end) - 8) & ~7
    assert (
        virt_to_pfns(world.kernel, np.array([0, 0x7F0000000000, hole, start - 1], np.uint64))[:3].tolist()
        == [-1] * 3
    )
