# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a dump lacks: struct pages that should be there, and contents that a filter should have kept."""

from __future__ import annotations

from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt
from drgn.helpers.linux.mm import follow_phys

from pageowner.kernel import page_type
from pageowner.kernel.memmap import PageLayout, Pages
from pageowner.kernel.target import PAGE_SHIFT, Kernel

I64 = npt.NDArray[np.int64]
EXCLUDED = "excluded from the dump"
NOT_THERE = "its struct page is not in the source"
# What lies in these pages is read to name other pages; makedumpfile keeps them at every dump level.
_STRUCT_PAGE = 32  # less than any struct page: one that lies on two pages has its end on the second
_STRUCTURES = (page_type.SLAB, page_type.TABLE)


@dataclass(frozen=True)
class LostRuns:
    """Runs of pages without a readable struct page: ``pfn`` and ``n`` int64, and why, one text each."""

    pfn: I64
    n: I64
    why: list[str]

    @property
    def excluded(self) -> int:
        """Pages whose struct page a filter left out."""
        return sum(int(n) for n, why in zip(self.n, self.why, strict=True) if why == EXCLUDED)


def lost_runs(kernel: Kernel, layout: PageLayout, pages: Pages) -> LostRuns:
    """The runs of ``pages.lost``, each with the reason that its first struct page gives."""
    edges = np.flatnonzero(np.diff(pages.lost.astype(np.int8), prepend=0, append=0))
    pfn, end = edges[::2] + pages.section.start, edges[1::2] + pages.section.start
    addresses = layout.sections.page_address(pfn).tolist()
    return LostRuns(pfn, end - pfn, [why_unreadable(kernel, address) for address in addresses])


def why_unreadable(kernel: Kernel, address: int) -> str:
    """Whether what lies at *address* was left out by a filter, or is not in the source for another reason."""
    if kernel.excluded is None:
        return NOT_THERE
    try:
        mm = kernel.object("init_mm").address_of_()
        found = [int(follow_phys(mm, at)) >> PAGE_SHIFT for at in (address, address + _STRUCT_PAGE)]
    except (drgn.FaultError, LookupError):
        return NOT_THERE
    return EXCLUDED if kernel.excluded(np.array(found, np.int64)).any() else NOT_THERE


def structures_left_out(kernel: Kernel, pages: Pages) -> int:
    """Slab pages and page tables whose contents a filter left out, though no dump level says so.

    makedumpfile before 1.7.8 takes slab pages of kernels from 6.10 on for pages of user space.
    """
    if kernel.excluded is None:
        return 0
    kind = np.append(pages.heads.type, np.uint8(page_type.NONE))[pages.head]
    kept = np.flatnonzero(np.isin(kind, _STRUCTURES) & pages.valid)
    return int(kernel.excluded(kept + pages.section.start).sum())
