# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own counters of memory, as they were at that moment: global sums plus what CPUs still keep.

/proc/meminfo leaves the per-CPU differences out (up to 125 pages per CPU and counter); a dump has them.
"""

from __future__ import annotations

from collections.abc import Callable

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.errors import DAMAGED_TYPE
from pageowner.kernel.pcp import read_pcp_sets
from pageowner.kernel.percpu import cpu_offsets
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.kernel.zone import nodes, read_zones

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_MOST_ITEMS = 256
_NODE_ITEMS, _ZONE_ITEMS = "enum node_stat_item", "enum zone_stat_item"
_HUGE, _HUGE_ORDER = ("NR_SHMEM_THPS", "NR_ANON_THPS"), 9

# A few were counted by zone in older kernels; each is looked for in both.
COUNTERS = (
    "NR_INACTIVE_ANON", "NR_ACTIVE_ANON", "NR_INACTIVE_FILE", "NR_ACTIVE_FILE", "NR_UNEVICTABLE",
    "NR_SLAB_RECLAIMABLE_B", "NR_SLAB_UNRECLAIMABLE_B", "NR_ANON_MAPPED", "NR_FILE_MAPPED", "NR_FILE_PAGES",
    "NR_SHMEM", "NR_SHMEM_THPS", "NR_ANON_THPS", "NR_KERNEL_STACK_KB", "NR_PAGETABLE", "NR_SWAPCACHE",
    "NR_VMALLOC", "NR_FREE_PAGES", "NR_ZONE_INACTIVE_ANON", "NR_ZONE_ACTIVE_ANON", "NR_ZONE_INACTIVE_FILE",
    "NR_ZONE_ACTIVE_FILE", "NR_ZONE_UNEVICTABLE", "NR_MLOCK", "NR_ZSPAGES",
)  # fmt: skip


def read_counters(kernel: Kernel) -> dict[str, int]:
    """Every counter that this kernel has, by the kernel's name, in pages of 4 KiB.

    Beside the enumerators of ``enum node_stat_item`` and ``zone_stat_item``: ``totalram``, ``managed``,
    ``present``, ``pcp``, ``percpu``, ``vmalloc``, ``hugetlb``, ``hugetlb_free``. A counter that cannot be
    read is left out.
    """
    out = _named(_node_stats(kernel), kernel, _NODE_ITEMS) | _named(_zone_stats(kernel), kernel, _ZONE_ITEMS)
    if "NR_KERNEL_STACK_KB" in out:
        out["NR_KERNEL_STACK_KB"] >>= PAGE_SHIFT - 10
    # 69473e5de873 and its like (5.12) count the pages of huge pages; before, the table of a memcg's
    # counters had to say how large the unit of each is.
    if kernel.has_member("struct memory_stat", "ratio"):
        out |= {name: out[name] << _HUGE_ORDER for name in _HUGE if name in out}
    zones = read_zones(kernel)
    out["present"], out["managed"] = int(zones["present"].sum()), int(zones["managed"].sum())
    for name, read in _SINGLE:
        try:
            out[name] = read(kernel)
        except (LookupError, AttributeError, TypeError, ValueError, drgn.FaultError):
            continue
    return out


def _named(values: I64, kernel: Kernel, items: str) -> dict[str, int]:
    found = ((name, at) for name, at in _enumerators(kernel, items).items() if name in COUNTERS)
    return {name: int(values[at]) for name, at in found if 0 <= at < len(values)}


def _enumerators(kernel: Kernel, name: str) -> dict[str, int]:
    """Names and values of an enum type; none where the target's types lack it."""
    try:
        return {one.name: one.value for one in kernel.prog.type(name).enumerators or ()}
    except (LookupError, *DAMAGED_TYPE):
        return {}


def _items(kernel: Kernel, enum: str, name: str) -> int:
    count = _enumerators(kernel, enum).get(name, 0)
    return count if 0 < count <= _MOST_ITEMS else 0


def _sums(kernel: Kernel, name: str, items: int) -> I64:
    """The global array of counters *name*."""
    address = int(kernel.object(name).address_ or 0)
    return np.frombuffer(kernel.read(address, items * 8), np.int64)


def _differences(kernel: Kernel, bases: U64, offset: int, items: int) -> I64:
    """What the CPUs keep: s8[items] at *offset* of the per-CPU structs *bases*, summed."""
    where = (bases[:, None] + cpu_offsets(kernel)[None, :]).reshape(-1) + np.uint64(offset)
    rows, _ = kernel.gather(where, np.dtype([("d", "i1", (items,))]))
    return np.asarray(rows["d"].astype(np.int64).sum(axis=0))


def _node_stats(kernel: Kernel) -> I64:
    try:
        items = _items(kernel, _NODE_ITEMS, "NR_VM_NODE_STAT_ITEMS")
        at = kernel.offset("struct pglist_data", "per_cpu_nodestats")
        bases, ok = kernel.gather(
            np.array([int(pgdat) + at for _, pgdat in nodes(kernel)], np.uint64), np.dtype("<u8")
        )
        offset = kernel.offset("struct per_cpu_nodestat", "vm_node_stat_diff")
        return _sums(kernel, "vm_node_stat", items) + _differences(kernel, bases[ok], offset, items)
    except (LookupError, TypeError, ValueError, drgn.FaultError):
        return np.empty(0, np.int64)


def _zone_stats(kernel: Kernel) -> I64:
    try:
        items = _items(kernel, _ZONE_ITEMS, "NR_VM_ZONE_STAT_ITEMS")
        # 28f836b6777b ("mm/page_alloc: split per cpu page lists and zone stats", 5.14)
        member = kernel.offset("struct zone", "per_cpu_zonestats", "pageset")
        split = kernel.has_member("struct zone", "per_cpu_zonestats")
        offset = kernel.offset(
            "struct per_cpu_zonestat" if split else "struct per_cpu_pageset", "vm_stat_diff"
        )
        zones = read_zones(kernel)["address"].to_numpy() + np.uint64(member)
        bases, ok = kernel.gather(zones, np.dtype("<u8"))
        return _sums(kernel, "vm_zone_stat", items) + _differences(kernel, bases[ok], offset, items)
    except (LookupError, TypeError, ValueError, drgn.FaultError):
        return np.empty(0, np.int64)


def _pcp(kernel: Kernel) -> int:
    sets = read_pcp_sets(kernel)
    rows, ok = kernel.gather(sets.address, kernel.dtype("struct per_cpu_pages", {"count": "count"}))
    return int(rows["count"][ok].astype(np.int64).sum())


def _percpu(kernel: Kernel) -> int:
    """``pcpu_nr_pages()``"""
    return int(kernel.object("pcpu_nr_populated")) * int(kernel.object("pcpu_nr_units"))


def _hugetlb(member: str) -> Callable[[Kernel], int]:
    def read(kernel: Kernel) -> int:
        count = min(int(kernel.object("hugetlb_max_hstate")), 16)
        states = kernel.object("hstates")
        return sum(int(getattr(states[i], member)) << int(states[i].order) for i in range(count))

    return read


_SINGLE: tuple[tuple[str, Callable[[Kernel], int]], ...] = (
    ("totalram", lambda kernel: int(kernel.object("_totalram_pages").counter)),
    ("pcp", _pcp),
    ("percpu", _percpu),
    ("vmalloc", lambda kernel: int(kernel.object("nr_vmalloc_pages").counter)),
    ("hugetlb", _hugetlb("nr_huge_pages")),
    ("hugetlb_free", _hugetlb("free_huge_pages")),
)
