# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every page that is a page table, and whose it is: of processes, of the kernel, and those held in reserve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.errors import LayoutError
from pageowner.kernel.image import read_image
from pageowner.kernel.lists import walk_lists
from pageowner.kernel.pagetable.kernel_half import kernel_mappings
from pageowner.kernel.pagetable.tables import TablePages
from pageowner.kernel.pagetable.x86_64 import PMD, PTE
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class TableOwners:
    """``tables`` of processes first, then the kernel's; ``spare`` bool: PTE tables that wait under a huge
    page, for the day it is split (``pmd_huge_pte``)."""

    tables: TablePages
    spare: npt.NDArray[np.bool_]


def read_table_owners(kernel: Kernel) -> TableOwners:
    """All tables that can be reached. Those inside the kernel image are left out: they are part of it."""
    users = kernel.memo(read_process_memory).tables
    spare = _deposited(kernel, users)
    tables = TablePages.join([users, spare, _kernels(kernel)])
    is_spare = np.zeros(len(tables), np.bool_)
    is_spare[len(users) : len(users) + len(spare)] = True
    return TableOwners(tables, is_spare)


def _kernels(kernel: Kernel) -> TablePages:
    try:
        tables = kernel.memo(kernel_mappings).tables
        keep = kernel.memo(read_image).part(tables.pfn) < 0
    except (LayoutError, LookupError):
        return TablePages()
    return TablePages(tables.pfn[keep], tables.level[keep], tables.mm[keep], tables.second[keep])


def _deposited(kernel: Kernel, tables: TablePages) -> TablePages:
    """``pgtable_trans_huge_deposit()``: chained through their struct pages, from that of the PMD table."""
    sections = kernel.memo(read_sections)
    pmd = np.flatnonzero(tables.level == PMD)
    try:
        first_at, link = _members(kernel)
    except LookupError:  # without split PMD locks the chain is the mm's, without huge pages there is none
        return TablePages()
    where = sections.page_address(tables.pfn[pmd]) + np.uint64(first_at)
    first, ok = kernel.gather(where, np.dtype("<u8"))
    has = np.flatnonzero(ok & (sections.page_pfn(first) >= 0))
    # The chain is a circular list without a head: all of them are the first and those after it.
    others = walk_lists(kernel, first[has] + np.uint64(link))
    pages = np.concatenate([first[has], others.node - np.uint64(link)])
    row = pmd[has[np.concatenate([np.arange(len(has)), others.owner])]]
    pfn = sections.page_pfn(pages)
    good = pfn >= 0
    return _rows(pfn[good], tables.mm[row[good]])


def _rows(pfn: I64, mm: npt.NDArray[np.int32]) -> TablePages:
    return TablePages.of(pfn, PTE, mm.astype(np.int64))


def _members(kernel: Kernel) -> tuple[int, int]:
    for name, link in (("struct ptdesc", "pt_list"), ("struct page", "lru")):  # ptdesc: 6.6
        if kernel.has_member(name, "pmd_huge_pte"):
            return kernel.offset(name, "pmd_huge_pte"), kernel.offset(name, link)
    raise LookupError("pmd_huge_pte")
