# SPDX-License-Identifier: LGPL-2.1-or-later
"""What drgn's own helpers say of a kernel: the same with debug information and without.

A helper that misses a global may fall back without a word, so the answers are compared, not only had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import drgn
import drgn.helpers.linux as linux
from drgn import Object, Program

Answer = Callable[[Program], Any]


def _mms(prog: Program) -> Iterator[Object]:
    return (task.mm for task in linux.for_each_task(prog) if task.mm)


def _inodes(prog: Program) -> Iterator[Object]:
    blocks = linux.list_for_each_entry("struct super_block", prog["super_blocks"].address_of_(), "s_list")
    for block in blocks:
        yield from linux.list_for_each_entry("struct inode", block.s_inodes.address_of_(), "i_sb_list")


def _files(prog: Program) -> list[Any]:
    return [
        (task.pid.value_(), fd, linux.d_path(file.f_path), file.f_inode.i_ino.value_())
        for task in linux.for_each_task(prog)
        for fd, file in linux.for_each_file(task)
    ]


def _vmas(prog: Program) -> list[Any]:
    return [
        (mm.value_(), vma.vm_start.value_(), vma.vm_end.value_(), vma.vm_flags.value_(), linux.vma_name(vma))
        for mm in _mms(prog)
        for vma in linux.for_each_vma(mm)
    ]


def _follow(prog: Program) -> list[Any]:
    answers: list[Any] = []
    for mm in _mms(prog):
        for vma in linux.for_each_vma(mm):
            try:
                answers.append((vma.vm_start.value_(), linux.follow_phys(mm, vma.vm_start).value_()))
            except drgn.FaultError:
                answers.append((vma.vm_start.value_(), None))
    return answers


def _cgroups(prog: Program) -> list[Any]:
    root = prog["cgrp_dfl_root"].cgrp.self.address_of_()
    return [
        (css.cgroup.value_(), linux.cgroup_name(css.cgroup), linux.cgroup_path(css.cgroup))
        for css in linux.css_for_each_descendant_pre(root)
    ]


def _mounts(prog: Program) -> list[Any]:
    return [
        (linux.mount_src(m), linux.mount_dst(m), linux.mount_fstype(m)) for m in linux.for_each_mount(prog)
    ]


def _pages(prog: Program) -> list[Any]:
    answers: list[Any] = []
    for page in islice(linux.for_each_page(prog), 0, 40000, 97):
        try:
            head = linux.compound_head(page).value_()
            pfn, virt = linux.page_to_pfn(page).value_(), linux.page_to_virt(page).value_()
            answers.append((pfn, virt, head, linux.decode_page_flags(page), linux.PageCompound(page)))
        except drgn.FaultError:
            answers.append((page.value_(), "fault"))
    return answers


def _addresses(prog: Program) -> list[int]:
    image, heap = prog["init_task"].address_of_(), linux.find_task(prog, 1)
    page = linux.virt_to_page(heap)
    pfn = linux.page_to_pfn(page)
    objects = [
        linux.virt_to_phys(heap),
        linux.phys_to_virt(linux.virt_to_phys(heap)),
        page,
        linux.pfn_to_page(pfn),
        linux.pfn_to_virt(pfn),
        linux.page_to_phys(page),
        linux.PFN_PHYS(pfn),
        linux.follow_phys(prog["init_mm"].address_of_(), image),
    ]
    return [one.value_() for one in objects]


def _constants(prog: Program) -> list[int]:
    names = ["PAGE_SIZE", "PAGE_SHIFT", "THREAD_SIZE", "SECTION_SIZE_BITS", "MAX_PHYSMEM_BITS", "vmemmap"]
    names += ["max_pfn", "min_low_pfn", "page_offset_base", "__highest_present_section_nr"]
    names += ["PG_locked", "NR_FREE_PAGES", "CSS_ONLINE", "__MAX_NR_ZONES", "jiffies"]
    return [int(prog[name]) for name in names]


def _sections(prog: Program) -> list[Any]:
    return [
        (number, one.value_(), linux.decode_section_flags(one), linux.section_mem_map_addr(one).value_())
        for number, one in linux.for_each_present_section(prog)
    ]


def _slabs(prog: Program) -> list[Any]:
    return [
        (c.name.string_(), c.value_(), linux.slab_cache_order(c), linux.slab_cache_objects_per_slab(c))
        for c in linux.for_each_slab_cache(prog)
    ]


def _slab_objects(prog: Program) -> list[Any]:
    cache = linux.find_slab_cache(prog, "task_struct")
    objects = linux.slab_cache_for_each_allocated_object(cache, "struct task_struct")
    tasks = sorted(task.value_() for task in objects)
    found = linux.slab_object_info(prog, tasks[0])
    return [tasks, found.slab.value_(), found.address, found.allocated]


def _per_cpu(prog: Program) -> list[Any]:
    queues = [linux.per_cpu(prog["runqueues"], cpu) for cpu in linux.for_each_possible_cpu(prog)]
    return [(queue.address_, queue.cpu.value_(), queue.nr_switches.value_()) for queue in queues]


def _page_cache(prog: Program) -> list[Any]:
    return [
        (inode.value_(), [(index, entry.value_()) for index, entry in linux.xa_for_each(pages)])
        for inode in _inodes(prog)
        if inode.i_mapping.nrpages
        for pages in [inode.i_mapping.i_pages.address_of_()]
    ]


def _nodes(prog: Program) -> list[Any]:
    return [
        (node, linux.NODE_DATA(prog, node).value_(), linux.NODE_DATA(prog, node).node_spanned_pages.value_())
        for node in linux.for_each_online_node(prog)
    ]


def _cpus(prog: Program) -> list[list[int]]:
    every = (linux.for_each_possible_cpu, linux.for_each_online_cpu, linux.for_each_present_cpu)
    return [list(each(prog)) for each in every]


def _stacks(prog: Program) -> list[Any]:
    answers: list[Any] = []
    for task in islice(linux.for_each_task(prog), 12):
        try:
            # Only debug information knows inlined frames, and the part in user space is not ours to unwind.
            trace = prog.stack_trace(task)
            answers.append([frame.pc for frame in trace if frame.pc >= 1 << 63 and not frame.is_inline])
        except ValueError as error:  # running
            answers.append(str(error))
    return answers


def _counters(prog: Program) -> list[int]:
    more = []
    with suppress(LookupError):  # before 5.12 drgn adds up an array whose length only debug information has
        prog.constant("NR_SWAPCACHE")
        more = [linux.total_swapcache_pages(prog)]
    return [
        *more,
        linux.totalram_pages(prog),
        linux.nr_free_pages(prog),
        linux.global_node_page_state(prog, prog["NR_FILE_PAGES"]),
        linux.global_vm_event_state(prog, prog["PGFAULT"]),
        linux.vm_commit_limit(prog),
        linux.vm_memory_committed(prog),
        linux.hugetlb_total_pages(prog),
    ]


def _vmap(prog: Program) -> list[Any]:
    areas = linux.for_each_vmap_area(prog)
    return [(area.va_start.value_(), area.va_end.value_(), area.vm.value_()) for area in areas]


def _per_task(ask: Callable[[Object], Any]) -> Answer:
    return lambda prog: [ask(task) for task in linux.for_each_task(prog)]


ANSWERS: dict[str, Answer] = {
    "tasks": _per_task(lambda task: (task.value_(), task.pid.value_(), task.comm.string_())),
    "task states": _per_task(linux.task_state_to_char),
    "task rss": _per_task(linux.task_rss),
    "command lines": _per_task(linux.cmdline),
    "pids": lambda p: [pid.value_() for pid in linux.for_each_pid(p)],
    "find_task": lambda p: linux.find_task(p, 1).value_(),
    "idle task": lambda p: linux.idle_task(p, 0).value_(),
    "current task": lambda p: linux.cpu_curr(p, 1).value_(),
    "VMAs": _vmas,
    "vma_find": lambda p: [linux.vma_find(mm, mm.start_stack).value_() for mm in _mms(p)],
    "follow_phys": _follow,
    "files": _files,
    "inode paths": lambda p: [(i.value_(), linux.inode_path(i)) for i in islice(_inodes(p), 300)],
    "path_lookup": lambda p: linux.path_lookup(p, "/bin/busybox").dentry.value_(),
    "page cache": _page_cache,
    "mounts": _mounts,
    "cgroups": _cgroups,
    "sysfs": lambda p: linux.kernfs_path(linux.kernfs_walk(p["sysfs_root_kn"], "kernel/mm")),
    "slab caches": _slabs,
    "slab aliases": linux.get_slab_cache_aliases,
    "slab objects": _slab_objects,
    "slab usage": linux.slab_total_usage,
    "per_cpu": _per_cpu,
    "CPUs": _cpus,
    "nodes": _nodes,
    "pages": _pages,
    "sections": _sections,
    "addresses": _addresses,
    "constants": _constants,
    "counters": _counters,
    "vmap areas": _vmap,
    "idr": lambda p: [(n, one.value_()) for n, one in linux.idr_for_each(p["init_pid_ns"].idr.address_of_())],
    "swap": lambda p: [one.value_() for one in linux.for_each_swap_info(p)],
    "hstates": lambda p: [linux.huge_page_size(one).value_() for one in linux.for_each_hstate(p)],
    "modules": lambda p: [linux.module_address_regions(module) for module in linux.for_each_module(p)],
    "disks": lambda p: [linux.disk_name(disk) for disk in linux.for_each_disk(p)],
    "log": linux.get_dmesg,
    "release": lambda p: p["UTS_RELEASE"].string_(),
    "stacks": _stacks,
    "functions": lambda p: [p[name].address_ for name in ("schedule", "vfs_read")],
}


def answers(prog: Program) -> dict[str, Any]:
    """Each helper's answer, or the error it ended with."""
    found = {}
    for name, ask in ANSWERS.items():
        try:
            found[name] = ask(prog)
        except (LookupError, drgn.FaultError, AttributeError, TypeError, ValueError) as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found
