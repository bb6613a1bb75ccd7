# SPDX-License-Identifier: LGPL-2.1-or-later
"""Page-table pages that no walk from a PGD reaches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pageowner.kernel.lists import walk_lists
from pageowner.kernel.mm import Mms
from pageowner.kernel.pagetable.tables import (
    DEPOSITED,
    ENTRIES,
    SECOND_PGD,
    ReadPhys,
    TablePages,
    read_tables,
)
from pageowner.kernel.pagetable.x86_64 import ADDRESS_BITS, PGD, PMD, PRESENT_BIT, PTE
from pageowner.kernel.sections import Sections
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

POINTER = np.dtype("<u8")


def unwalked_tables(kernel: Kernel, sections: Sections, mms: Mms, walked: TablePages) -> TablePages:
    """The deposited PTE tables and the second PGD pages of *mms*, whose *walked* tables are known."""
    parts = [deposited_tables(kernel, sections, mms, walked)]
    # The function is there when isolation is compiled in, whether or not it is active.
    if "pti_finalize" in kernel.symbols or "pti_init" in kernel.symbols:
        parts.append(second_pgds(kernel.read_phys, walked))
    return TablePages.join(parts)


def deposited_tables(kernel: Kernel, sections: Sections, mms: Mms, walked: TablePages) -> TablePages:
    """PTE tables put by for each anonymous huge page (``pgtable_trans_huge_deposit()``).

    They hang on the PMD table's struct page as a ring through ``lru``, or on the mm where PMD locks are not
    split (fewer than four CPUs configured).
    """
    try:
        at_mm = kernel.offset("struct mm_struct", "pmd_huge_pte")
        heads, mm = mms.address + np.uint64(at_mm), np.arange(len(mms))
    except LookupError:
        pmd = np.flatnonzero((walked.level == PMD) & (walked.mm >= 0))
        member = _page_offset(kernel, "pmd_huge_pte")
        heads = sections.page_address(walked.pfn[pmd]) + np.uint64(member)
        mm = walked.mm[pmd].astype(np.int64)
    first, ok = kernel.gather(heads, POINTER)
    keep = np.flatnonzero(ok & (sections.page_pfn(first) >= 0))
    first, mm = first[keep], mm[keep]
    link = np.uint64(kernel.offset("struct page", "lru"))
    ring = walk_lists(kernel, first + link)
    pages = np.concatenate([first, ring.node - link])
    owner = np.concatenate([mm, mm[ring.owner]])
    pfn = sections.page_pfn(pages)
    good = np.flatnonzero((pfn >= 0) & ~np.isin(pfn, walked.pfn))
    return TablePages.of(pfn[good], PTE, owner[good], DEPOSITED)


def _page_offset(kernel: Kernel, member: str) -> int:
    try:
        return kernel.offset("struct ptdesc", member)  # 6.6
    except LookupError:
        return kernel.offset("struct page", member)


def second_pgds(read_phys: ReadPhys, walked: TablePages) -> TablePages:
    """The page behind each PGD, if PGDs come in pairs: with page-table isolation the second is for user mode.

    Up to 6.14 they do whenever isolation is compiled in, later only if it is active. Nothing says so but
    the pages: all PGDs are at even PFNs, and the second's user half is empty or leads to the same tables.
    """
    rows = np.flatnonzero((walked.level == PGD) & (walked.mm >= 0))
    order = rows[np.argsort(walked.pfn[rows])]
    pfn = walked.pfn[order]
    if not len(pfn) or (pfn & 1).any():
        return TablePages()
    own, _ = read_tables(read_phys, pfn)
    second, ok = read_tables(read_phys, pfn + 1)
    half = slice(0, ENTRIES // 2)
    bits = np.uint64(ADDRESS_BITS) | PRESENT_BIT
    same = ((second[:, half] & bits) == (own[:, half] & bits)).all(axis=1) | ~second[:, half].any(axis=1)
    if not (ok & same).all():
        return TablePages()
    return TablePages.of(pfn + 1, PGD, walked.mm[order].astype(np.int64), SECOND_PGD)
