# SPDX-License-Identifier: LGPL-2.1-or-later
"""What has to be known of the real core before it can be cloned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from drgn.helpers.linux.slab import for_each_slab_cache

from pageowner.kernel import page_type
from pageowner.kernel.lists import walk_lists
from pageowner.kernel.memmap import read_pages
from pageowner.kernel.page_ext import PageExt
from pageowner.kernel.page_flags import flag_mask
from pageowner.kernel.page_owner import PageOwner, read_page_owner
from pageowner.kernel.pagetable.kernel_half import virt_to_pfns
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.sections import Sections, read_sections
from pageowner.kernel.table_owners import read_table_owners
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.kernel.task import read_tasks
from pageowner.kernel.units import read_layout
from pageowner.sources import open_core

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Objects that exist once however large the machine is: caches themselves, superblocks.
SHARED_CACHES = ("kmem_cache", "kmem_cache_node", "kmalloc-2k", "kmalloc-4k", "kmalloc-8k")


@dataclass
class Seed:
    """``cloned``: bool per PFN; ``tables``: bool per PFN: a page table; ``inodes``: addresses of those with
    pages in the page cache; ``memmap``: physical address of the struct pages of each section, 0 for a hole;
    ``table_page`` and ``shmem_page``: struct pages to copy."""

    path: Path
    kernel: Kernel
    sections: Sections
    cloned: Bools
    tables: Bools
    inodes: U64
    handles: npt.NDArray[np.uint32]
    memmap: I64
    table_page: bytes
    shmem_page: bytes

    @property
    def pages(self) -> int:
        """PFNs from one slot to the next."""
        return self.sections.rows[-1].start + self.sections.rows[-1].n

    @property
    def page_ext(self) -> PageExt:
        return self.page_owner.page_ext

    @property
    def page_owner(self) -> PageOwner:
        found = self.kernel.memo(read_page_owner)
        assert isinstance(found, PageOwner)
        return found

    def phys(self, addresses: U64) -> U64:
        """Physical addresses of direct-map, image and vmemmap addresses."""
        physical, linear = self.kernel.linear_to_phys(addresses)
        offset = addresses - np.uint64(self.sections.vmemmap)
        size = np.uint64(self.sections.rows[0].n * self.sections.page_size)
        section = np.minimum(offset // size, np.uint64(len(self.memmap) - 1)).astype(np.int64)
        return np.where(linear, physical, self.memmap[section].astype(np.uint64) + offset % size)

    def memmap_page(self, physical: int) -> int | None:
        """The section whose struct pages lie at *physical*, or None."""
        at = int(np.searchsorted(self._starts, physical, side="right")) - 1
        if at < 0 or physical >= self._starts[at] + self.sections.rows[0].n * self.sections.page_size:
            return None
        return int(self._order[at])

    def __post_init__(self) -> None:
        used = np.flatnonzero(self.memmap)
        self._order = used[np.argsort(self.memmap[used])]
        self._starts = self.memmap[self._order]

    def ring(self, head: int) -> U64:
        """The nodes of the list at *head*, in order."""
        return walk_lists(self.kernel, np.array([head], np.uint64)).node


def read_seed(path: Path) -> Seed:
    """Look at the core at *path*."""
    kernel = open_core(path)
    sections, layout = kernel.memo(read_sections), kernel.memo(read_layout)
    limit = sections.rows[-1].start + sections.rows[-1].n
    cloned, mappings, handles = np.zeros(limit, np.bool_), [], []
    templates: dict[str, bytes] = {}
    reserved, shared = np.uint64(flag_mask(kernel, "PG_reserved")), _shared_caches(kernel)
    owner = kernel.memo(read_page_owner)
    assert isinstance(owner, PageOwner)
    shmem = np.uint64(kernel.symbols.lookup("shmem_aops"))
    for section in sections:
        pages = read_pages(kernel, layout, section)
        heads = pages.heads
        keep = np.append((heads.flags & reserved) == 0, False)
        slab = heads.type == page_type.SLAB
        keep[:-1] &= ~(slab & np.isin(heads.rows["slab_cache"], shared))
        cloned[section.start : section.start + section.n] = pages.valid & keep[pages.head]
        file = (heads.type == 0) & (heads.refcount > 0) & (heads.mapping_bits == 0) & (heads.mapping != 0)
        unique = np.unique(heads.mapping[file])
        mappings.append(unique)
        records = owner.records(section)
        assert records is not None
        handles += [records.rows[name][records.owner] for name in ("handle", "free_handle")]
        raw = kernel.read(section.memmap, section.n * sections.page_size)
        _templates(kernel, pages.heads.pfn - section.start, heads, file, shmem, raw, templates)
    processes = kernel.memo(read_process_memory)
    tables = np.zeros(limit, np.bool_)
    found = kernel.memo(read_table_owners).pfn
    tables[found[found < limit]] = True
    assert len(processes.mms) > 2
    return Seed(
        path, kernel, sections, cloned, tables, _inodes(kernel, np.unique(np.concatenate(mappings))),
        np.unique(np.concatenate(handles)), _memmap(kernel, sections), templates["table"], templates["shmem"],
    )  # fmt: skip


def _shared_caches(kernel: Kernel) -> U64:
    caches = for_each_slab_cache(kernel.prog)
    return np.array([int(c) for c in caches if c.name.string_().decode() in SHARED_CACHES], np.uint64)


def _templates(kernel, at, heads, file, shmem, raw, templates) -> None:  # type: ignore[no-untyped-def]
    size = kernel.memo(read_sections).page_size
    if "table" not in templates:
        rows = np.flatnonzero((heads.type == page_type.TABLE) & (at >= 0))
        if len(rows):
            first = int(at[rows[0]]) * size
            templates["table"] = raw[first : first + size]
    if "shmem" not in templates:
        rows = np.flatnonzero(file & ~heads.compound & (at >= 0) & (heads.rows["mapcount"] == 0xFFFFFFFF))
        operations = kernel.offset("struct address_space", "a_ops")
        words, ok = kernel.gather(heads.mapping[rows] + np.uint64(operations), np.dtype("<u8"))
        rows = rows[ok & (words == shmem)]
        if len(rows):
            first = int(at[rows[0]]) * size
            templates["shmem"] = raw[first : first + size]


def _inodes(kernel: Kernel, mappings: U64) -> U64:
    host = kernel.offset("struct address_space", "host")
    inodes, ok = kernel.gather(mappings + np.uint64(host), np.dtype("<u8"))
    return np.unique(inodes[ok & (inodes != 0)])


def _memmap(kernel: Kernel, sections: Sections) -> I64:
    out = np.zeros(sections.rows[-1].nr + 1, np.int64)
    for section in sections:
        pfn = virt_to_pfns(kernel, np.array([section.memmap], np.uint64))
        out[section.nr] = int(pfn[0]) << PAGE_SHIFT
    return out


def tasks_of(seed: Seed) -> U64:
    """Addresses of all tasks but the idle ones."""
    tasks = seed.kernel.memo(read_tasks)
    return np.asarray(tasks.address[tasks.rows["pid"] > 0])


def pfn_of(physical: U64) -> I64:
    return (physical >> np.uint64(PAGE_SHIFT)).astype(np.int64)
