# SPDX-License-Identifier: LGPL-2.1-or-later
"""The units (compound pages) around scattered pages that some structure points to, looked up in bulk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.kernel import page_type
from pageowner.kernel.memmap import PageLayout, compound_order, page_layout
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Units:
    """Distinct units, by PFN: ``pfn`` int64 of the head, ``n`` int64 pages, ``type`` uint8 as in page_type,
    and ``row`` intp: for each page that was asked about, its unit (-1: it has no readable struct page)."""

    pfn: I64
    n: I64
    type: npt.NDArray[np.uint8]
    row: npt.NDArray[np.intp]


def read_layout(kernel: Kernel) -> PageLayout:
    """:func:`~pageowner.kernel.memmap.page_layout` of *kernel*, for ``kernel.memo``."""
    return page_layout(kernel, kernel.memo(read_sections))


def units_of(kernel: Kernel, pfns: I64) -> Units:
    """The unit that each of *pfns* is a page of; PFNs below 0 have none."""
    layout = kernel.memo(read_layout)
    has = pfns >= 0
    head = np.where(has, _heads_of(kernel, layout, np.where(has, pfns, 0)), -1)
    unique, inverse = np.unique(head, return_inverse=True)
    real = unique >= 0
    rows, ok = kernel.gather(layout.sections.page_address(unique[real]), layout.dtype)
    second, ok_second = kernel.gather(layout.sections.page_address(unique[real] + 1), layout.second)
    is_head = ok & ok_second & ((rows["flags"] & np.uint64(layout.head_bit)) != 0)
    size = np.where(is_head, np.int64(1) << compound_order(second), 1)
    words = np.ascontiguousarray(rows["mapcount"]).view(np.uint32)
    types = layout.types.codes(words)
    if layout.slab_flag is not None:
        types[(rows["flags"] & np.uint64(layout.slab_flag)) != 0] = page_type.SLAB
    slot = np.full(len(unique), -1, np.intp)
    slot[np.flatnonzero(real)[ok]] = np.arange(int(ok.sum()))
    return Units(unique[real][ok], size[ok], types[ok], slot[inverse])


def _heads_of(kernel: Kernel, layout: PageLayout, pfns: I64) -> I64:
    """PFN of the head of each page's compound page; the page itself where it is no tail, -1 unreadable."""
    address = layout.sections.page_address(pfns)
    rows, ok = kernel.gather(address, layout.dtype)
    word1 = np.ascontiguousarray(rows["word1"])
    tail = (word1 & np.uint64(1)) != 0
    target = address & word1 if layout.masked_head else word1 - np.uint64(1)
    return np.where(ok, np.where(tail, layout.sections.page_pfn(target), pfns), -1)
