# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sums over all pages that the balance sheet's formulas are made of, added up while sections stream by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import drgn
import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel import page_type
from pageowner.kernel.iomem import is_ram_from, ram_ranges, read_iomem
from pageowner.kernel.kexec import read_kexec_pages
from pageowner.kernel.lru_gen import LruGen
from pageowner.kernel.memmap import Heads
from pageowner.kernel.page_flags import flag_mask
from pageowner.kernel.runs import run_starts
from pageowner.kernel.slab_caches import reclaimable_caches
from pageowner.kernel.stackdepot import early_handles
from pageowner.kernel.stacks import IRQ, TASK, read_kernel_stacks
from pageowner.kernel.target import Kernel
from pageowner.kernel.vmap import VM_ALLOC, read_vmap_areas
from pageowner.snapshot.scan import Scan, SectionScan

Bools = npt.NDArray[np.bool_]
T = TypeVar("T")
_HUGE_PAGES = 512
# What a page is, in one byte: its unit is in use and has no type; is anonymous; is a huge page; is mapped as
# a whole; the page has a mapping of its own; its layer is SHMEM_PAGE, or one with no use for mapcounts.
_PLAIN, _ANON, _HUGE, _ENTIRE, _OWN, _SHMEM, _NOT_PLAIN = (np.uint8(1 << bit) for bit in range(7))


class Tally:
    """Pages by attribute. :meth:`add` every section, then ask for its :meth:`terms`."""

    def __init__(self, scan: Scan) -> None:
        self._scan, kernel = scan, scan.kernel
        self._sums: Counter[str] = Counter()
        self._mask = {
            name: np.uint64(flag_mask(kernel, f"PG_{name}"))
            for name in ("reserved", "lru", "active", "swapbacked", "unevictable", "swapcache", "mlocked")
        }
        self._ram = _or_none(lambda: ram_ranges(kernel.memo(read_iomem)))
        self._number = {run.word: run.number for run in scan.all_runs}
        self._reclaimable = _or_none(lambda: np.array(sorted(reclaimable_caches(kernel)), np.uint64))
        self._generations = _or_none(lambda: LruGen(kernel))
        self._stacks = _or_none(lambda: _stack_keys(kernel)) or {}
        self._what, self._whats = np.zeros(256, np.uint8), np.zeros(256, np.int64)
        self._what[self._numbers("SHMEM_PAGE")] = _SHMEM
        # zsmalloc before 6.11 has no type and keeps an offset in the mapcount.
        self._what[self._numbers("ZSMALLOC_PAGE", "FREE_PAGE", "PCP_FREE_PAGE")] = _NOT_PLAIN
        self._pages = np.zeros(256, np.int64)
        self._early = early_handles(kernel)
        self._kexec = kernel.memo(read_kexec_pages)
        self._kmalloc = next((run for run in scan.runs if run.word == "LARGE_KMALLOC_PAGE"), None)

    def add(self, section: SectionScan) -> None:
        """Count the pages of one section."""
        self._kinds(section)
        self._places(section)
        self._mapped(section)
        self._lists(section)

    def _count(self, term: str, pages: int) -> None:
        self._sums[term] += int(pages)

    def _places(self, section: SectionScan) -> None:
        """RAM or hole, reserved or managed, recorded or not."""
        pages = section.pages
        self._count("struct pages", pages.valid.sum())
        if self._ram is not None:
            section_ram = is_ram_from(self._ram, pages.section.start, pages.section.n)
            ram = section_ram & pages.valid & pages.section.online
            reserved = (pages.flags & self._mask["reserved"]) != 0
            self._count("RAM", ram.sum())
            # The page allocator gave these out, and kexec marked them.
            marked = np.isin(pages.pfn, self._kexec) & reserved & ram
            self._count("RAM not reserved", (ram & ~reserved).sum() + marked.sum())
        if section.records is not None:
            # Guard pages from before page_owner was up look allocated to it.
            guard = page_type.any_of(section.layer, self._numbers("GUARD_PAGE"))
            recorded = section.records.allocated & pages.valid & ~guard
            # What lay on a CPU's free list then looks allocated to it, too, until it is.
            free = recorded & page_type.any_of(section.layer, self._numbers("FREE_PAGE", "PCP_FREE_PAGE"))
            early = np.isin(section.records.rows["handle"][free], self._early).sum()
            self._count("recorded", recorded.sum() - early)
            huge = pages.heads.type == page_type.HUGETLB
            if huge.any():
                huge = np.append(huge, False)[pages.head] & pages.valid & ~section.records.allocated
            self._count("hugetlb not recorded", huge.sum())

    def _mapped(self, section: SectionScan) -> None:
        """Pages with a mapping of their own or of their whole folio (``folio_mapped()`` page by page)."""
        pages, heads = section.pages, section.pages.heads
        # One byte per page says all that matters here: there are few different ones to add up.
        unit = np.zeros(len(heads) + 1, np.uint8)  # the last is of pages without a head
        unit[:-1] = np.where((heads.type == page_type.NONE) & (heads.refcount > 0), _PLAIN, np.uint8(0))
        unit[:-1] |= np.where((heads.mapping & np.uint64(1)) != 0, _ANON, np.uint8(0))
        unit[:-1] |= np.where(heads.n == _HUGE_PAGES, _HUGE, np.uint8(0))
        if "entire_mapcount" in (heads.second.dtype.names or ()) and heads.compound.any():
            entire = heads.compound & (heads.second["entire_mapcount"] >= 0)
            unit[:-1] |= np.where(entire, _ENTIRE, np.uint8(0))
        what = unit[pages.head] | self._what[section.layer]
        what |= np.where(pages.mapcount >= 0, _OWN, np.uint8(0))
        self._whats += np.bincount(what, minlength=256)

    def _mapped_terms(self) -> dict[str, int]:
        what = np.arange(256, dtype=np.uint8)
        anon, entire, huge = what & _ANON != 0, what & _ENTIRE != 0, what & _HUGE != 0
        plain = (what & _PLAIN != 0) & (what & _NOT_PLAIN == 0)
        mapped = plain & (entire | (what & _OWN != 0))
        terms = {
            "anon mapped": mapped & anon,
            "other mapped": mapped & ~anon,
            "anon huge": huge & plain & anon & entire,
            "shmem huge": huge & plain & (what & _SHMEM != 0),
        }
        return {term: int(self._whats[which].sum()) for term, which in terms.items()}

    def _lists(self, section: SectionScan) -> None:
        """LRU lists, swap cache, mlocked: by the flags of the unit's head."""
        heads = section.pages.heads
        local = heads.pfn >= section.pages.section.start
        self._flagged(heads, local & (heads.type == 0) & (heads.refcount > 0))
        # By the layer's rule, but whoever owns the page now (a socket's buffer).
        if self._kmalloc is not None and self._kmalloc.active:
            self._count("large kmalloc", heads.n[self._kmalloc.layer.domain(heads) & local].sum())
        types = {"table": page_type.TABLE, "hugetlb": page_type.HUGETLB, "offline": page_type.OFFLINE}
        for name, code in types.items():
            self._count(f"typed {name}", heads.n[(heads.type == code) & local].sum())
        free = (heads.type == page_type.HUGETLB) & (heads.refcount == 0)
        self._count("hugetlb free", heads.n[free & local].sum())

    def _flagged(self, heads: Heads, own: Bools) -> None:
        charged = "memcg" in (heads.rows.dtype.names or ())
        memcg = np.ascontiguousarray(heads.rows["memcg"]) if charged else np.zeros(len(heads), np.uint64)
        # Neighbours are mostly alike: from here on, a row is a run of them.
        starts = run_starts(own, heads.flags, memcg)
        n = np.add.reduceat(heads.n, starts) if len(starts) else heads.n
        flags, own = heads.flags[starts], own[starts]
        flag = {name: ((flags & mask) != 0) & own for name, mask in self._mask.items()}
        evictable = flag["lru"] & ~flag["unevictable"]
        young = flag["active"]
        if self._generations is not None:
            young = self._generations.active(flags, memcg[starts], young, evictable)
        for name, active in (("active", young), ("inactive", ~young)):
            self._count(f"{name} anon", n[evictable & active & flag["swapbacked"]].sum())
            self._count(f"{name} file", n[evictable & active & ~flag["swapbacked"]].sum())
        self._count("unevictable", n[flag["lru"] & flag["unevictable"]].sum())
        self._count("swap cache", n[flag["swapcache"] & flag["swapbacked"]].sum())
        self._count("mlocked", n[flag["mlocked"]].sum())

    def _numbers(self, *words: str) -> list[int]:
        return [self._number[word] for word in words if word in self._number]

    def terms(self) -> dict[str, int]:
        """All sums, in pages: one per kind (by its word), and those of this class."""
        kernel = self._scan.kernel
        areas = _or_none(lambda: kernel.memo(read_vmap_areas).frame.filter(pl.col("flags") & VM_ALLOC != 0))
        known = {} if areas is None else {"VM_ALLOC areas": int(areas["nr_pages"].sum())}
        kinds = {word: int(self._pages[number]) for word, number in self._number.items()}
        return kinds | dict(self._sums) | self._mapped_terms() | known

    def _kinds(self, section: SectionScan) -> None:
        """Pages of each kind, and of what parts of a kind differ in: caches, stacks."""
        self._pages += np.bincount(section.layer, minlength=256)
        if self._reclaimable is not None:
            slabs = self._keys(section, "SLAB_PAGE")
            reclaimable = np.isin(slabs, self._reclaimable).sum() if len(slabs) else 0
            self._count("slab reclaimable", reclaimable)
            self._count("slab unreclaimable", len(slabs) - reclaimable)
        stacks = self._keys(section, "KERNEL_STACK_PAGE")
        for state, keys in self._stacks.items():
            self._count(state, np.isin(stacks, keys).sum() if len(stacks) else 0)

    def _keys(self, section: SectionScan, word: str) -> npt.NDArray[np.uint64]:
        """The key of the owner of each page of one kind."""
        number = self._number.get(word, -1)
        if number not in section.claims:
            return np.empty(0, np.uint64)
        rows = section.claim[section.layer == number]
        return np.asarray(section.claims[number].key[rows], np.uint64)


def _or_none(read: Callable[[], T]) -> T | None:
    """What *read* gives; None where the dump lacks it, or its types are damaged: that sum is left out."""
    try:
        return read()
    except (LookupError, AttributeError, TypeError, ValueError, drgn.FaultError):
        return None


def _stack_keys(kernel: Kernel) -> dict[str, npt.NDArray[np.uint64]]:
    """Keys of the kernel's stacks, by the term that they count for."""
    frame = kernel.memo(read_kernel_stacks).frame
    first = int(kernel.object("init_task").address_of_())
    return {
        "stacks of tasks": frame.filter(state=TASK)["key"].to_numpy(),
        "irq stacks": frame.filter(state=IRQ)["key"].to_numpy(),
        "stack of init_task": np.array([first], np.uint64),
    }
