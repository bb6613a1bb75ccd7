# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sums over all pages that the balance sheet's formulas are made of, added up while sections stream by."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel import page_type
from pageowner.kernel.iomem import is_ram, ram_ranges, read_iomem
from pageowner.kernel.page_flags import flag_mask
from pageowner.kernel.slab_caches import reclaimable_caches
from pageowner.kernel.stacks import IRQ, TASK, read_kernel_stacks
from pageowner.kernel.vmap import VM_ALLOC, read_vmap_areas
from pageowner.snapshot.scan import Scan, SectionScan

Bools = npt.NDArray[np.bool_]
_HUGE_PAGES = 512


class Tally:
    """Pages by attribute. :meth:`add` every section, then ask for the :meth:`terms`."""

    def __init__(self, scan: Scan) -> None:
        self._scan, kernel = scan, scan.kernel
        self._sums: Counter[str] = Counter()
        self._mask = {
            name: np.uint64(flag_mask(kernel, f"PG_{name}"))
            for name in ("reserved", "lru", "active", "swapbacked", "unevictable", "swapcache", "mlocked")
        }
        self._ram = ram_ranges(kernel.memo(read_iomem))
        self._number = {run.word: run.number for run in scan.runs}
        self._kmalloc = next((run.layer for run in scan.runs if run.word == "LARGE_KMALLOC_PAGE"), None)

    def add(self, section: SectionScan) -> None:
        """Count the pages of one section."""
        self._places(section)
        self._mapped(section)
        self._lists(section)

    def _count(self, term: str, pages: int) -> None:
        self._sums[term] += int(pages)

    def _places(self, section: SectionScan) -> None:
        """RAM or hole, reserved or managed, recorded or not."""
        pages = section.pages
        ram = is_ram(self._ram, pages.pfn) & pages.valid
        reserved = (pages.flags & self._mask["reserved"]) != 0
        self._count("struct pages", pages.valid.sum())
        self._count("RAM", ram.sum())
        self._count("RAM not reserved", (ram & ~reserved).sum())
        if section.records is not None:
            self._count("recorded", (section.records.allocated & pages.valid).sum())

    def _mapped(self, section: SectionScan) -> None:
        """Pages with a mapping of their own or of their whole folio (``folio_mapped()`` page by page)."""
        pages, heads = section.pages, section.pages.heads
        mapped, entire = pages.mapcount >= 0, np.zeros(len(heads) + 1, np.bool_)
        if "entire_mapcount" in (heads.second.dtype.names or ()):
            entire[:-1] = heads.compound & (heads.second["entire_mapcount"] >= 0)
        plain = np.append((heads.type == page_type.NONE) & (heads.refcount > 0), False)
        # zsmalloc before 6.11 has no type and keeps an offset in the mapcount.
        plain = plain[pages.head] & ~self._is(section, "ZSMALLOC_PAGE", "FREE_PAGE", "PCP_FREE_PAGE")
        mapped = (mapped | entire[pages.head]) & plain
        anon = np.append((heads.mapping & np.uint64(1)) != 0, False)[pages.head]
        self._count("anon mapped", (mapped & anon).sum())
        self._count("other mapped", (mapped & ~anon).sum())
        huge = np.append(heads.n == _HUGE_PAGES, False)[pages.head] & plain
        self._count("anon huge", (huge & anon & entire[pages.head]).sum())
        self._count("shmem huge", (huge & self._is(section, "SHMEM_PAGE")).sum())

    def _lists(self, section: SectionScan) -> None:
        """LRU lists, swap cache, mlocked: by the flags of the unit's head."""
        heads = section.pages.heads
        local = heads.pfn >= section.pages.section.start
        own = local & (heads.type == 0) & (heads.refcount > 0)
        flag = {name: ((heads.flags & mask) != 0) & own for name, mask in self._mask.items()}
        evictable = flag["lru"] & ~flag["unevictable"]
        for name, active in (("active", flag["active"]), ("inactive", ~flag["active"])):
            self._count(f"{name} anon", heads.n[evictable & active & flag["swapbacked"]].sum())
            self._count(f"{name} file", heads.n[evictable & active & ~flag["swapbacked"]].sum())
        self._count("unevictable", heads.n[flag["lru"] & flag["unevictable"]].sum())
        self._count("swap cache", heads.n[flag["swapcache"] & flag["swapbacked"]].sum())
        self._count("mlocked", heads.n[flag["mlocked"]].sum())
        if (
            self._kmalloc is not None
        ):  # by the layer's rule, but whoever owns the page now (a socket's buffer)
            self._count("large kmalloc", heads.n[self._kmalloc.domain(heads) & local].sum())
        types = (("typed table", page_type.TABLE), ("typed hugetlb", page_type.HUGETLB))
        for name, code in types:
            self._count(name, heads.n[(heads.type == code) & local].sum())
        free = (heads.type == page_type.HUGETLB) & (heads.refcount == 0)
        self._count("hugetlb free", heads.n[free & local].sum())

    def _is(self, section: SectionScan, *words: str) -> Bools:
        numbers = [self._number[word] for word in words if word in self._number]
        return np.asarray(np.isin(section.layer, numbers))

    def terms(self, owners: pl.DataFrame) -> dict[str, int]:
        """All sums, in pages: one per kind (by its word), those of this class, and those by owner.

        :param owners: the scan's owners table.
        """
        kinds = owners.group_by("word").agg(pl.col("pages").sum())
        out = dict.fromkeys(self._number, 0) | dict(kinds.iter_rows()) | dict(self._sums)
        return out | self._by_owner(owners)

    def _by_owner(self, owners: pl.DataFrame) -> dict[str, int]:
        kernel = self._scan.kernel
        slabs = owners.filter(pl.col("word") == "SLAB_PAGE")
        reclaimable = slabs["key"].is_in(sorted(reclaimable_caches(kernel)))
        stacks = owners.filter(pl.col("word") == "KERNEL_STACK_PAGE")
        states = kernel.memo(read_kernel_stacks).frame.select("key", "state").unique("key", keep="first")
        by_state = dict(
            stacks.join(states, on="key").group_by("state").agg(pl.col("pages").sum()).iter_rows()
        )
        first = int(kernel.object("init_task").address_of_())
        areas = kernel.memo(read_vmap_areas).frame
        allocated = areas.filter((pl.col("flags") & VM_ALLOC) != 0)
        return {
            "slab reclaimable": int(slabs.filter(reclaimable)["pages"].sum()),
            "slab unreclaimable": int(slabs.filter(~reclaimable)["pages"].sum()),
            "stacks of tasks": by_state.get(TASK, 0),
            "stack of init_task": int(stacks.filter(pl.col("key") == first)["pages"].sum()),
            "irq stacks": by_state.get(IRQ, 0),
            "VM_ALLOC areas": int(allocated["nr_pages"].sum()),
        }
