# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own memory, each kind against what the kernel itself says of it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from pageowner.kernel.stacks import TASK, read_kernel_stacks
from pageowner.kernel.vmap import VM_ALLOC, read_vmap_areas
from pageowner.kernel.zone import nodes
from tests.layers.painted import Painted

KPF_PGTABLE, KPF_ZERO_PAGE, KPF_OFFLINE, KPF_NOPAGE = 26, 24, 23, 20
IMAGE_WORDS = {"KERNEL_IMAGE_PAGE", "KERNEL_STACK_PAGE", "ZERO_PAGE"}


def ranges(iomem: str, name: str) -> list[tuple[int, int]]:
    """First and last whole page of each range of /proc/iomem that has this name."""
    found = re.findall(rf"^ *([0-9a-f]+)-([0-9a-f]+) : {name}$", iomem, re.M)
    return [(-(-int(a, 16) >> 12), (int(b, 16) + 1 >> 12) - 1) for a, b in found]


def test_the_kernel_image_is_where_iomem_says(capture: Any, painted: Painted) -> None:
    iomem, parts = (
        capture.text("iomem.txt"),
        {"code": "text", "rodata": "rodata", "data": "data", "bss": "bss"},
    )
    for theirs, ours in parts.items():
        ((first, last),) = ranges(iomem, f"Kernel {theirs}")
        pages = painted.pages.filter(pl.col("pfn").is_between(first, last))
        if ours == "bss":
            pages = pages.filter(~pl.col("pfn").is_in(given_back(painted, first)))
        assert set(pages["word"].unique()) <= IMAGE_WORDS, theirs
        assert set(pages.filter(word="KERNEL_IMAGE_PAGE")["owner"].unique()) == {ours}


def given_back(painted: Painted, bss: int) -> range:
    """PFNs of the end of the bss, from PFN *bss* on, that `mem_encrypt_free_decrypted_mem()` freed."""
    symbols = painted.kernel.symbols
    if "__start_bss_decrypted_unused" not in symbols:
        return range(0)
    ends = [symbols.lookup(name) for name in ("__start_bss_decrypted_unused", "__end_bss_decrypted")]
    start = symbols.lookup("__bss_start")
    return range(*((address - start >> 12) + bss for address in ends))


def test_reserved_pages_have_the_names_of_iomem(capture: Any, painted: Painted) -> None:
    iomem, reserved = capture.text("iomem.txt"), painted.of("RESERVED_PAGE")
    for name in ("Crash kernel", "System ROM"):
        ((first, last),) = ranges(iomem, name)
        inside = reserved.filter(pl.col("pfn").is_between(first, last))
        assert inside.height == last - first + 1, name
        assert set(inside["owner"].unique()) == {name}
    ram = ranges(iomem, "System RAM")
    holes = painted.pages.filter(~pl.any_horizontal([pl.col("pfn").is_between(*r) for r in ram]))
    assert set(holes["word"].unique()) == {"RESERVED_PAGE"}
    assert not set(holes["owner"]) & {"unknown", "low 1 MiB"}


def test_mem_section_has_its_root_array(painted: Painted) -> None:
    length = painted.kernel.vmcoreinfo.lengths["mem_section"]
    named = painted.of("RESERVED_PAGE").filter(pl.col("owner").str.contains("mem_section"))
    assert named.height >= length * 8 // 4096


def test_every_thread_has_a_stack_of_four_pages(capture: Any, painted: Painted) -> None:
    text, told = capture.text("proc.txt"), set()
    for tgid, tids in re.findall(r"^==> /proc/(\d+)/task <==\n((?:\d+\n)*)", text, re.M):
        told |= {int(tid) for tid in tids.split()} | {int(tgid)}
    stacks = read_kernel_stacks(painted.kernel).frame.filter(state=TASK)
    pages = dict(painted.of("KERNEL_STACK_PAGE").group_by("owner").agg(pl.len()).iter_rows())
    ours = {
        pid: pages.get(f"pid {pid} ({name})", 0) for pid, name in stacks.select("pid", "name").iter_rows()
    }
    ours.pop(0)  # the idle tasks, one per CPU
    assert set(ours.values()) == {4}
    # kworkers come and go; everything else stood still.
    assert len(told) > 60 and len(told - set(ours)) <= 3 and len(set(ours) - told) <= 3


def test_stacks_of_interrupts_and_idle_tasks(painted: Painted) -> None:
    owners = Counter(painted.of("KERNEL_STACK_PAGE")["owner"])
    assert {owners[f"irq cpu{cpu}"] for cpu in (0, 1)} == {4}
    assert {owners[f"pid 0 (swapper/{cpu})"] for cpu in (0, 1)} == {4}


def test_vmalloc_areas_are_those_of_vmallocinfo(capture: Any, painted: Painted) -> None:
    """Same sizes, callers and page counts as the kernel's list, but for stacks of kworkers since."""
    line = re.compile(r"^0x\S+-0x\S+ +(\d+) (\S+)/0x\w+(?: \[\w+\])? (?:pages=(\d+) )?", re.M)
    theirs = Counter((int(s), c, int(n or 0)) for s, c, n in line.findall(capture.text("vmallocinfo.txt")))
    areas = read_vmap_areas(painted.kernel).frame
    callers = [
        text.partition("/")[0] for text in painted.kernel.symbols.symbolize(areas["caller"].to_numpy())
    ]
    allocated = (areas["flags"] & VM_ALLOC) != 0
    pages = areas["nr_pages"].set(~allocated, 0)
    ours = Counter(zip((areas["end"] - areas["start"]).to_list(), callers, pages.to_list(), strict=True))
    differ = {k for k in theirs.keys() | ours.keys() if theirs[k] != ours[k] and "clone" not in k[1]}
    assert len(theirs) > 20 and not {k for k in differ if k[2]}


def test_vmalloc_pages_all_belong_to_what_asked_for_them(painted: Painted) -> None:
    """Each page of each area is owned as vmalloc or, more exactly, by who uses the area."""
    words = {"VMALLOC_PAGE", "KERNEL_STACK_PAGE", "MODULE_PAGE", "BPF_PAGE", "PERF_PAGE", "IO_URING_PAGE"}
    words |= {"DMA_PAGE", "STACKDEPOT_PAGE", "PAGE_EXT_PAGE"}
    _, pfns = read_vmap_areas(painted.kernel).pages()
    owners = painted.pages.filter(pl.col("pfn").is_in(pfns.tolist()))
    assert set(owners["word"].unique()) <= words
    assert owners.height == len(np.unique(pfns))


def test_typed_page_tables_are_those_of_kpageflags(capture: Any, painted: Painted) -> None:
    flags = np.frombuffer(capture.read("kpageflags.bin"), np.uint64)
    told = set(np.flatnonzero((flags >> np.uint64(KPF_PGTABLE)) & np.uint64(1)).tolist())
    ours = set(painted.of("PAGE_TABLE_PAGE")["pfn"].to_list())
    assert len(told) > 300
    assert len(told - ours) <= 8  # tables of the saving process, gone since


def test_every_table_is_linked(painted: Painted) -> None:
    tables = painted.of("PAGE_TABLE_PAGE")
    assert not tables.filter(pl.col("owner").str.starts_with("not linked")).height
    pids = set(tables["owner"].str.extract(r"^pid (\d+) ").drop_nulls())
    assert len(pids) > 30
    assert tables.filter(pl.col("owner").str.contains("PTE,spare")).height >= 2  # under the workload's THPs


def test_the_zero_page_is_that_of_kpageflags(capture: Any, painted: Painted) -> None:
    flags = np.frombuffer(capture.read("kpageflags.bin"), np.uint64)
    told = np.flatnonzero((flags >> np.uint64(KPF_ZERO_PAGE)) & np.uint64(1))
    ours = painted.pages.filter(pl.col("word").is_in(["ZERO_PAGE", "HUGE_ZERO_PAGE"]))
    assert ours["pfn"].to_list() == told.tolist()


def test_percpu_memory_is_that_of_meminfo(capture: Any, painted: Painted) -> None:
    told = int(re.findall(r"^Percpu: +(\d+) kB$", capture.text("meminfo.txt"), re.M)[0])
    irq = painted.of("KERNEL_STACK_PAGE").filter(pl.col("owner").str.starts_with("irq"))
    assert (painted.of("PERCPU_PAGE").height + irq.height) * 4 == told


def test_modules_are_those_of_proc(capture: Any, painted: Painted) -> None:
    pages = dict(
        painted.of("MODULE_PAGE")
        .with_columns(pl.col("owner").str.extract(r"^(\S+)").alias("name"))
        .group_by("name")
        .agg(pl.len())
        .iter_rows()
    )
    told = {
        name: -(-int(size) // 4096)
        for name, size in re.findall(r"^(\S+) (\d+) ", capture.text("modules.txt"), re.M)
    }
    assert told and pages == told


def test_tracking_costs_what_it_must(capture: Any, painted: Painted) -> None:
    """The tables' sizes follow from the number of pages."""
    command = capture.text("cmdline.txt")
    kernel, pages = painted.kernel, painted.pages.height
    struct_page = int(kernel.type("struct page").size or 0)
    memmap = pages * struct_page // 4096
    # hugetlb_free_vmemmap=on leaves one page of struct pages for each huge page.
    states = kernel.object("hstates")
    huge = sum(int(states[i].nr_huge_pages) for i in range(int(kernel.object("hugetlb_max_hstate"))))
    hidden = painted.of("HUGETLB_PAGE").height * struct_page // 4096 - huge
    # Since 7.1 the huge pages of a zone share a page of tails.
    zones = [zone for _, node in nodes(kernel) for zone in node.node_zones]
    if kernel.has_member("struct zone", "vmemmap_tails"):
        hidden -= sum(bool(tail) for zone in zones for tail in zone.vmemmap_tails)
    saved = hidden if "hugetlb_free_vmemmap=on" in command else 0
    assert painted.of("MEMMAP_PAGE").height == memmap - saved
    if not painted.records:
        return
    entry = int(kernel.object("page_ext_size"))
    online = sum(section.n for section in painted.scan.sections if section.online)
    assert painted.of("PAGE_EXT_PAGE").height == online * entry // 4096
    depot = Counter(painted.of("STACKDEPOT_PAGE")["owner"])
    # Until 5.18 the hash table was an array of the image.
    table = 8 if kernel.address("stack_hash_mask") else 0
    assert depot["pools"] % 4 == 0 and depot["pools"] > 0
    assert (depot["hash table"] >= table) if table else depot["hash table"] == 0


def test_bpf_pages_are_what_the_workload_made(capture: Any, painted: Painted) -> None:
    told = re.findall(r"^TRUTH kind=(bpf_\w+) .*pfn=(0x[0-9a-f]+)", capture.text("truth.txt"), re.M)
    owner = dict(painted.of("BPF_PAGE").select("pfn", "owner").iter_rows())
    for kind, pfn in told:
        assert owner.get(int(pfn, 16), "").startswith("map "), (kind, pfn)


def test_free_pages_of_cpus_are_recorded_as_freed(painted: Painted) -> None:
    """page_owner's own word: a page on such a list has a record that is not allocated."""
    pcp = painted.of("PCP_FREE_PAGE")
    assert pcp.height == painted.counters["pcp"] > 0
    assert not pcp["recorded"].any()


def test_what_only_a_stack_tells_is_a_call_site(painted: Painted) -> None:
    if not painted.records:
        pytest.skip("page_owner is off in this capture")
    callers = Counter(painted.of("ALLOC_PAGE")["owner"])
    assert all(re.fullmatch(r"[\w.]+\+0x[0-9a-f]+( \[\w+\])?", caller) for caller in callers)
    # None of the callers is an allocator itself.
    inner = ("alloc_pages", "__alloc", "kmalloc", "vmalloc", "get_free", "post_alloc")
    assert not [caller for caller in callers if caller.startswith(inner)]
    large = Counter(painted.of("LARGE_KMALLOC_PAGE")["owner"])
    assert any(caller.startswith("btf_check_all_metas+") for caller in large)


def test_the_balloon_is_offline(capture: Any, painted: Painted) -> None:
    told = re.findall(r"^balloon_inflate (\d+)$", capture.text("vmstat.txt"), re.M)
    offline = painted.of("OFFLINE_PAGE").filter(pl.col("owner") == "virtio_balloon").height
    flags = np.frombuffer(capture.read("kpageflags.bin"), np.uint64)
    assert offline == int(((flags >> np.uint64(KPF_OFFLINE)) & np.uint64(1)).sum())
    assert not told or int(told[0]) >= offline


def test_memory_blocks_that_are_offline(capture: Any, painted: Painted) -> None:
    if not capture.has("memory_blocks.txt"):
        pytest.skip("this capture is older than the list of memory blocks")
    told = re.findall(r"/memory(\d+)/state <==\noffline$", capture.text("memory_blocks.txt"), re.M)
    pages = painted.of("OFFLINE_PAGE").filter(pl.col("owner") != "virtio_balloon")
    assert set(pages["owner"].unique()) == {f"memory block {number}" for number in told}
    assert set(pages["pfn"] // (1 << 15)) == {int(number) for number in told}
    assert pages.height == len(told) << 15
    # kpageflags says that there is no page; 7.2 says nothing.
    flags = np.frombuffer(capture.read("kpageflags.bin"), np.uint64)
    assert set(flags[pages["pfn"].to_numpy()].tolist()) <= {0, 1 << KPF_NOPAGE}


def test_guard_pages_are_there_only_when_asked_for(capture: Any, painted: Painted) -> None:
    asked = "debug_guardpage_minorder" in capture.text("cmdline.txt")
    assert bool(painted.of("GUARD_PAGE").height) == asked


def test_inspect_tells_where_in_its_owner_a_page_is(painted: Painted) -> None:
    layers = {run.word: run.layer for run in painted.scan.runs}
    stack = painted.of("KERNEL_STACK_PAGE").filter(pl.col("owner").str.starts_with("pid 1 "))
    told = [layers["KERNEL_STACK_PAGE"].inspect(pfn) for pfn in stack["pfn"].to_list()]
    assert sorted(text for ((_, text),) in told) == [f"page {n} of 4" for n in (1, 2, 3, 4)]
    table = int(painted.of("PAGE_TABLE_PAGE").filter(pl.col("owner") == "kernel PMD")["pfn"][0])
    ((title, text),) = layers["PAGE_TABLE_PAGE"].inspect(table)
    used = int(re.fullmatch(r"(\d+) of 512 used", text)[1])  # type: ignore[index]
    assert title == "entries" and 0 < used <= 512
    first = int(painted.of("PERCPU_PAGE").filter(pl.col("owner") == "chunk first")["pfn"][0])
    ((title, text),) = layers["PERCPU_PAGE"].inspect(first)
    assert title == "unit" and re.fullmatch(r"offset 0x\w+000 in the unit of CPU [01]|offset 0x0 in .*", text)
    assert layers["KERNEL_STACK_PAGE"].inspect(0) == layers["PERCPU_PAGE"].inspect(0) == []
