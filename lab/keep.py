# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which pages of a core a fixture keeps: what `makedumpfile -d 31` would, decided from the memmap itself.

Needs drgn, numpy and the kernel's vmlinux (makedumpfile 1.7.2 and 1.7.6 are wrong on 6.12: they drop
slab pages or keep free ones).
Dropped: free pages (buddy, guard and per-CPU lists), anonymous, page cache, shmem and hugetlb pages,
poisoned and offline pages, the crash kernel's region, the initrd. Unlike makedumpfile it keeps pages of
zeros (they cost nothing once compressed) and drops the kernel's text, nearly half of the compressed size:
nobody reads instructions from a dump.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import drgn
import numpy as np
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.list import list_for_each
from drgn.helpers.linux.mm import follow_phys
from drgn.helpers.linux.percpu import per_cpu_ptr

PAGE = 4096
SECTION_PAGES = 1 << 15
MAPPING_ANON = 1


def open_core(core: Path, vmlinux: Path) -> drgn.Program:
    prog = drgn.Program()
    prog.set_core_dump(core)
    prog.load_debug_info([vmlinux])
    return prog


def kept_pages(prog: drgn.Program, pages: int) -> np.ndarray:
    """bool per PFN: keep it. What has no memmap (firmware's flash) is dropped."""
    words = memmap(prog, pages)
    keep = words.any(axis=1)
    drop_free(prog, words, keep)
    drop_user_data(prog, words, keep)
    drop_crash_kernel(prog, keep)
    drop_initrd(prog, keep)
    drop_text(prog, keep)
    return keep


def memmap(prog: drgn.Program, pages: int) -> np.ndarray:
    """One row of eight u64 per struct page, from PFN 0."""
    size = prog.type("struct page").size
    base = prog["vmemmap_base"].value_()
    rows = np.zeros((pages, size // 8), dtype="<u8")
    for start in range(0, pages, SECTION_PAGES):
        n = min(SECTION_PAGES, pages - start)
        try:
            raw = prog.read(base + start * size, n * size)
        except drgn.FaultError:
            continue
        rows[start : start + n] = np.frombuffer(raw, "<u8").reshape(n, -1)
    return rows


def column(words: np.ndarray, prog: drgn.Program, member: str, dtype: str) -> np.ndarray:
    """The column of `struct page` at the offset of `member`."""
    at = drgn.offsetof(prog.type("struct page"), member)
    raw = words.view("u1").reshape(len(words), -1)
    size = np.dtype(dtype).itemsize
    return np.ascontiguousarray(raw[:, at : at + size]).view(dtype)[:, 0]


def flag(prog: drgn.Program, name: str) -> np.uint64:
    return np.uint64(1 << prog.constant(name).value_())


def drop_free(prog: drgn.Program, words: np.ndarray, keep: np.ndarray) -> None:
    # The whole word for untyped kernels (6.1: bits cleared), the top byte from 6.12 on.
    kind = column(words, prog, "_mapcount", "<u4")
    order = column(words, prog, "private", "<u8")
    for pfn in np.flatnonzero(free_typed(prog, kind)).tolist():
        keep[pfn : pfn + (1 << int(order[pfn]))] = False
    for pfn, n in per_cpu_free(prog):
        keep[pfn : pfn + n] = False


def free_typed(prog: drgn.Program, kind: np.ndarray) -> np.ndarray:
    """Heads of blocks of the buddy system and of guard pages, both with their order in page->private."""
    try:
        types = [prog.constant(name).value_() for name in ("PGTY_buddy", "PGTY_guard")]
        return np.isin(kind >> 24, types)
    except LookupError:
        # Up to 5.10 the pages of memcg had a type, too, before those of tables and guards.
        guard = 0x800 if prog.type("struct page").has_member("mem_cgroup") else 0x400
        return np.isin(kind, [~0x80 & 0xFFFFFFFF, ~guard & 0xFFFFFFFF])


def per_cpu_free(prog: drgn.Program) -> Any:
    """(PFN, pages) of each block on a per-CPU list, three lists per order, the last for huge pages."""
    base, size = prog["vmemmap_base"].value_(), prog.type("struct page").size
    lru = drgn.offsetof(prog.type("struct page"), "lru")
    for node in prog["node_data"]:
        if not node:
            continue
        for zone in node.node_zones:
            for cpu in for_each_possible_cpu(prog):
                for i, head in enumerate(cpu_lists(zone, cpu)):
                    order = 9 if i >= 12 else i // 3
                    for entry in list_for_each(head.address_of_()):
                        yield (entry.value_() - lru - base) // size, 1 << order


def cpu_lists(zone: drgn.Object, cpu: int) -> drgn.Object:
    try:
        return per_cpu_ptr(zone.per_cpu_pageset, cpu).lists
    except AttributeError:  # up to 5.13, with the counters of the zone
        return per_cpu_ptr(zone.pageset, cpu).pcp.lists


def drop_user_data(prog: drgn.Program, words: np.ndarray, keep: np.ndarray) -> None:
    """Anonymous, page cache, shmem, hugetlb and poisoned pages, with their tails."""
    flags = column(words, prog, "flags", "<u8")
    mapping = column(words, prog, "mapping", "<u8")
    kind = column(words, prog, "_mapcount", "<u4")
    cached = (flags & (flag(prog, "PG_lru") | flag(prog, "PG_swapbacked"))) != 0
    # While they wait in a per-CPU batch only the low bit of mapping tells anonymous pages (KSM, too).
    anon = (mapping & np.uint64(MAPPING_ANON)) != 0
    # The words of typed pages (slab, page table, buddy, …) mean something else.
    typed = ((kind >= 0xF0000000) & (kind != 0xFFFFFFFF)) | is_slab(prog, flags)
    user = (cached | anon) & ~typed
    user |= huge(prog, words) | offline(prog, kind)
    user |= (flags & flag(prog, "PG_hwpoison")) != 0
    keep[user[heads(prog, words)]] = False


def is_slab(prog: drgn.Program, flags: np.ndarray) -> np.ndarray:
    """Slab pages where that is a flag (up to 6.9); later it is a type."""
    try:
        return (flags & flag(prog, "PG_slab")) != 0
    except LookupError:
        return np.zeros(len(flags), dtype=bool)


def heads(prog: drgn.Program, words: np.ndarray) -> np.ndarray:
    """PFN of the head of each page (itself where it is no tail)."""
    base, size = prog["vmemmap_base"].value_(), prog.type("struct page").size
    own = np.arange(len(words))
    try:
        word = column(words, prog, "compound_head", "<u8")
        head = word - np.uint64(1)
    except LookupError:  # 7.1: of a power of two of bytes it is a mask for the tail's own address
        word = column(words, prog, "compound_info", "<u8")
        masked = (np.uint64(base) + own.astype(np.uint64) * np.uint64(size)) & (word - np.uint64(1))
        head = masked if has_masks(prog) else word - np.uint64(1)
    tail = (word & np.uint64(1)) == 1
    pfn = ((head - np.uint64(base)) // np.uint64(size)).astype(np.int64)
    return np.where(tail & (pfn >= 0) & (pfn < len(words)), pfn, own)


def has_masks(prog: drgn.Program) -> bool:
    """Whether this kernel has pages for the tails of huge pages, and so masks in place of heads."""
    size = prog.type("struct page").size
    return prog.type("struct zone").has_member("vmemmap_tails") and size & (size - 1) == 0


def huge(prog: drgn.Program, words: np.ndarray) -> np.ndarray:
    """Heads of hugetlb pages: a type from 6.9 on, before that a destructor in the second page."""
    kind = column(words, prog, "_mapcount", "<u4")
    try:
        return kind >> 24 == prog.constant("PGTY_hugetlb").value_()
    except LookupError:
        dtor = column(words, prog, "compound_dtor", "u1")
        is_head = (column(words, prog, "flags", "<u8") & flag(prog, "PG_head")) != 0
        return is_head & (np.roll(dtor, -1) == prog.constant("HUGETLB_PAGE_DTOR").value_())


def offline(prog: drgn.Program, kind: np.ndarray) -> np.ndarray:
    """Pages that the hypervisor has: their contents are not there to be read."""
    try:
        return kind >> 24 == prog.constant("PGTY_offline").value_()
    except LookupError:
        return kind == ~0x100 & 0xFFFFFFFF


def drop_crash_kernel(prog: drgn.Program, keep: np.ndarray) -> None:
    region = prog["crashk_res"]
    if region.end:
        keep[region.start.value_() // PAGE : (region.end.value_() + 1) // PAGE] = False


def drop_initrd(prog: drgn.Program, keep: np.ndarray) -> None:
    """The compressed initrd, which debug_pagealloc does not give back."""
    header = prog["boot_params"].hdr
    start, size = header.ramdisk_image.value_(), header.ramdisk_size.value_()
    keep[start // PAGE : (start + size) // PAGE] = False


def drop_text(prog: drgn.Program, keep: np.ndarray) -> None:
    """Whole pages between _text and _etext."""
    start = prog.symbol("_text").address
    size = prog.symbol("_etext").address - start
    pfn = follow_phys(prog["init_mm"].address_of_(), start).value_() // PAGE
    keep[pfn : pfn + size // PAGE] = False
