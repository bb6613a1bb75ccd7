# SPDX-License-Identifier: LGPL-2.1-or-later
"""Corruptions, one function each: what is written where, and which check must find it at which page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Heads
from pageowner.kernel.page_ext import OWNER, OWNER_ALLOCATED
from pageowner.kernel.page_owner import PageOwner
from pageowner.kernel.pagetable.x86_64 import PTE
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.stackdepot import early_handles
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.kernel.vmap import read_vmap_areas
from pageowner.kernel.zone import read_zones
from pageowner.snapshot.checks.view import View
from pageowner.snapshot.scan import open_scan
from tests.plant import Planter

NO_PAGE = -1
Where = Callable[[View, Heads], npt.NDArray[np.bool_]]


class Guest:
    """A healthy kernel, where to write in it, and what was planted: ``expected``, (check, PFN) pairs."""

    def __init__(self, kernel: Kernel, planter: Planter) -> None:
        self.kernel, self.planter = kernel, planter
        self.scan = open_scan(kernel)
        self.views = [View(self.scan, section) for section in self.scan.run()]
        self.expected: set[tuple[str, int]] = set()
        self._taken: set[int] = set()

    def must_find(self, pfn: int, *checks: str) -> None:
        self.expected |= {(check, pfn) for check in checks}

    def head(self, *words: str, n: int = 1, where: Where | None = None) -> int:
        """A unit of *n* pages of a layer that no other corruption has touched: its PFN."""
        for view in self.views:
            heads = view.heads
            good = view.of_words(*words) & (heads.n == n) & (heads.pfn >= view.start)
            if where is not None:
                good &= where(view, heads)
            for pfn in heads.pfn[good].tolist():
                if pfn not in self._taken:
                    self._taken.add(pfn)
                    return int(pfn)
        raise LookupError(f"this capture has no such page of {words}")

    def view_of(self, pfn: int) -> View:
        return next(view for view in self.views if view.start <= pfn < view.start + view.n)

    def struct_page(self, pfn: int, column: str) -> int:
        """Address of a word of a struct page."""
        layout = self.scan.layout
        fields = layout.dtype.fields or {}
        return int(layout.sections.page_address(np.array([pfn]))[0]) + int(fields[column][1])

    def value(self, pfn: int, column: str) -> int:
        view = self.view_of(pfn)
        return int(view.pages.rows[column][pfn - view.start])

    def write(self, pfn: int, column: str, value: int) -> None:
        size = (self.scan.layout.dtype.fields or {})[column][0].itemsize
        self.planter.word(self.struct_page(pfn, column), value % (1 << 8 * size), size)

    def record(self, pfn: int, column: str, value: int) -> None:
        """Write a column of the page's page_owner record."""
        page_owner = self.scan.page_owner
        assert isinstance(page_owner, PageOwner)
        entry = page_owner.page_ext.address(self.view_of(pfn).pages.section.page_ext, pfn)
        kind, offset = (page_owner.dtype.fields or {})[column][:2]
        self.planter.word(entry + int(offset), value, kind.itemsize)

    @cached_property
    def garbage(self) -> int:
        """An address that leads to readable memory which is nothing in particular: read-only data."""
        return self.kernel.symbols.lookup("__start_rodata") & ~0xFFF | 0x800


def recorded_whole(view: View, heads: Heads) -> npt.NDArray[np.bool_]:
    """The record is of the whole unit; those of boot are of single pages."""
    records = view.section.records
    assert records is not None
    return np.asarray(records.rows["order"][np.maximum(heads.pfn - view.start, 0)] == np.log2(heads.n))


def mapped_once(view: View, heads: Heads) -> npt.NDArray[np.bool_]:
    return np.asarray((view.mapcounts == 1) & (heads.type == page_type.NONE))


def mapcount_too_small(guest: Guest) -> None:
    pfn = guest.head("ANON_PAGE", where=mapped_once)
    guest.write(pfn, "mapcount", guest.value(pfn, "mapcount") - 1)
    guest.must_find(pfn, "mapcount")


def entry_to_a_free_page(guest: Guest) -> None:
    old = guest.head("ANON_PAGE", where=mapped_once)
    free = guest.head("FREE_PAGE")
    at, entry = page_table_entry(guest, old)
    moved = entry & ~(((1 << 40) - 1) << PAGE_SHIFT) | free << PAGE_SHIFT
    guest.planter.physical(at, moved.to_bytes(8, "little"))
    guest.must_find(free, "mapped-free")
    guest.must_find(old, "mapcount")


def page_table_entry(guest: Guest, pfn: int) -> tuple[int, int]:
    """Physical address and value of the present PTE that maps page *pfn*."""
    tables = guest.kernel.memo(read_process_memory).tables
    for table in tables.pfn[tables.level == PTE].tolist():
        rows = np.frombuffer(guest.kernel.read_phys(table << PAGE_SHIFT, 4096), np.uint64)
        frames = (rows >> np.uint64(PAGE_SHIFT)) & np.uint64((1 << 40) - 1)
        hits = np.flatnonzero((frames == pfn) & ((rows & np.uint64(1)) != 0))
        if len(hits):
            return (table << PAGE_SHIFT) + int(hits[0]) * 8, int(rows[hits[0]])
    raise LookupError(f"no PTE maps page {pfn}")


def too_few_references(guest: Guest) -> None:
    pfn = guest.head("SHMEM_PAGE", where=mapped_once)
    guest.write(pfn, "refcount", 1)
    guest.must_find(pfn, "refcount")


def a_slab_of_no_cache(guest: Guest) -> None:
    pfn = guest.head("SLAB_PAGE")
    guest.write(pfn, "slab_cache", guest.garbage)
    guest.must_find(pfn, "slab-cache")


def a_block_of_no_order(guest: Guest) -> None:
    pfn = guest.head("FREE_PAGE", n=4)
    guest.write(pfn, "private", 63)
    guest.must_find(pfn, "buddy", "free-list")


def a_tail_of_nothing(guest: Guest) -> None:
    pfn = guest.head("SLAB_PAGE", n=4) + 2
    guest.write(pfn, "word1", 0)
    guest.must_find(pfn, "compound")


def a_tail_with_references(guest: Guest) -> None:
    pfn = guest.head("SLAB_PAGE", n=8) + 5
    guest.write(pfn, "refcount", 1)
    guest.must_find(pfn, "compound")


def a_head_of_nothing(guest: Guest) -> None:
    """A single page that says it is a compound page's head."""
    pfn = guest.head("VMALLOC_PAGE")
    guest.write(pfn, "flags", guest.value(pfn, "flags") | guest.scan.layout.head_bit)
    guest.must_find(pfn, "compound")


def a_vmalloc_area_with_a_free_page(guest: Guest) -> None:
    free = guest.head("FREE_PAGE")
    guest.planter.word(slot_of_vmalloc_page(guest, 0), guest.struct_page(free, "flags"))
    guest.must_find(free, "stale-claim")


def two_vmalloc_areas_with_one_page(guest: Guest) -> None:
    pfn = guest.head("VMALLOC_PAGE")
    guest.planter.word(slot_of_vmalloc_page(guest, 1), guest.struct_page(pfn, "flags"))
    guest.must_find(pfn, "two-owners")


def slot_of_vmalloc_page(guest: Guest, nth: int) -> int:
    """Address of the last entry of the nth area's array of pages, from the end."""
    areas = guest.kernel.memo(read_vmap_areas).frame
    large = [row for row in areas.iter_rows(named=True) if row["pages"] and row["nr_pages"] > 1]
    row = large[-1 - nth]
    return int(row["pages"]) + 8 * (int(row["nr_pages"]) - 1)


def an_anon_page_of_nobody(guest: Guest) -> None:
    pfn = guest.head("ANON_PAGE", where=mapped_once)
    guest.write(pfn, "mapping", guest.garbage | 1)
    guest.must_find(pfn, "anon-vma")


def a_file_page_of_no_file(guest: Guest) -> None:
    pfn = guest.head("FILE_PAGE")
    guest.write(pfn, "mapping", guest.garbage)
    guest.must_find(pfn, "owner")


def charged_to_nothing(guest: Guest) -> None:
    pfn = guest.head("ANON_PAGE", where=mapped_once)
    guest.write(pfn, "memcg", guest.garbage)
    guest.must_find(pfn, "memcg")


def a_free_page_recorded_as_allocated(guest: Guest) -> None:
    pfn = guest.head("FREE_PAGE")
    guest.record(pfn, "ext_flags", OWNER | OWNER_ALLOCATED)
    guest.must_find(pfn, "record-free")


def a_page_of_a_free_list_when_page_owner_came_up(guest: Guest) -> None:
    """No corruption: until it is allocated, it looks so to page_owner."""
    pfn = guest.head("FREE_PAGE")
    guest.record(pfn, "ext_flags", OWNER | OWNER_ALLOCATED)
    guest.record(pfn, "handle", early_handles(guest.kernel)[0])


def a_subpage_with_another_order(guest: Guest) -> None:
    pfn = guest.head("SLAB_PAGE", n=2, where=recorded_whole) + 1
    guest.record(pfn, "order", 7)
    guest.must_find(pfn, "record-block")


def a_record_without_a_stack(guest: Guest) -> None:
    pfn = guest.head("FILE_PAGE")
    guest.record(pfn, "handle", 0x1FFFFF)
    guest.must_find(pfn, "record-stack")


def a_free_page_that_is_locked(guest: Guest) -> None:
    pfn = guest.head("FREE_PAGE")
    guest.write(pfn, "flags", guest.value(pfn, "flags") | 1)
    guest.must_find(pfn, "free-words")


def a_page_in_no_zone(guest: Guest) -> None:
    """The bits of node and zone, above all flags, turned round."""
    pfn = guest.head("FILE_PAGE")
    guest.write(pfn, "flags", guest.value(pfn, "flags") ^ 0xF << 60)
    guest.must_find(pfn, "zone")


def one_free_block_too_many(guest: Guest) -> None:
    zone = read_zones(guest.kernel).row(0, named=True)
    area = zone["address"] + guest.kernel.offset("struct zone", "free_area")
    at = area + guest.kernel.offset("struct free_area", "nr_free")
    stored = int.from_bytes(guest.kernel.read(at, 8), "little")
    guest.planter.word(at, stored + 1)
    guest.must_find(NO_PAGE, "free-list")


OF_RECORDS = (
    a_free_page_recorded_as_allocated,
    a_page_of_a_free_list_when_page_owner_came_up,
    a_subpage_with_another_order,
    a_record_without_a_stack,
)
"""What needs page_owner's records to be planted."""

CORRUPTIONS: tuple[Callable[[Guest], None], ...] = (
    mapcount_too_small,
    entry_to_a_free_page,
    too_few_references,
    a_slab_of_no_cache,
    a_block_of_no_order,
    a_tail_of_nothing,
    a_tail_with_references,
    a_head_of_nothing,
    a_vmalloc_area_with_a_free_page,
    two_vmalloc_areas_with_one_page,
    an_anon_page_of_nobody,
    a_file_page_of_no_file,
    charged_to_nothing,
    a_free_page_recorded_as_allocated,
    a_page_of_a_free_list_when_page_owner_came_up,
    a_subpage_with_another_order,
    a_record_without_a_stack,
    a_free_page_that_is_locked,
    a_page_in_no_zone,
    one_free_block_too_many,
)
