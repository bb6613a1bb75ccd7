# SPDX-License-Identifier: LGPL-2.1-or-later
"""Short ways to say what layers say most: from pointers of the kernel to page frames, and to claims."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.runs import runs_of
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.layers.base import Claims

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


def virt_to_pfns(kernel: Kernel, addresses: npt.NDArray[Any]) -> I64:
    """PFN behind each address of the direct map or the kernel image; -1 for other addresses (vmalloc, user).

    :returns: int64[n].
    """
    phys, linear = kernel.linear_to_phys(np.asarray(addresses, np.uint64))
    return np.where(linear, phys >> np.uint64(PAGE_SHIFT), np.uint64((1 << 64) - 1)).view(np.int64)


def page_to_pfns(kernel: Kernel, pages: npt.NDArray[Any]) -> I64:
    """PFN of each ``struct page *``; -1 for what is no struct page. int64[n]."""
    return kernel.memo(read_sections).page_pfn(np.asarray(pages, np.uint64))


def claims_of(key: int, pfns: I64) -> Claims:
    """The pages *pfns* as claims of one owner, PFNs that follow each other as one run; -1 is left out."""
    pfn, n = runs_of(np.sort(pfns))
    return Claims(pfn, n, np.full(len(pfn), key, np.uint64))
