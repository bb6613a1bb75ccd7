# SPDX-License-Identifier: LGPL-2.1-or-later
"""From kernel addresses to page frames, by ranges: what lies behind a table, a stack, a module's text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pageowner.kernel.pagetable.kernel_half import virt_to_pfns
from pageowner.kernel.runs import runs_of
from pageowner.kernel.target import PAGE_SHIFT, Kernel

I64 = npt.NDArray[np.int64]

_MOST_PAGES = 1 << 24  # 64 GiB: nothing that the kernel has for itself is larger


def range_runs(kernel: Kernel, start: int, size: int) -> tuple[I64, I64]:
    """Runs (first PFN, pages) of the pages behind *size* bytes at kernel address *start*, by address.

    What is not mapped is left out; an impossible range has none.
    """
    first, last = start >> PAGE_SHIFT, (start + size - 1) >> PAGE_SHIFT
    if size <= 0 or start < 1 << 63 or start + size > 1 << 64 or last - first >= _MOST_PAGES:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    ends = np.array([first << PAGE_SHIFT, last << PAGE_SHIFT], np.uint64)
    physical, linear = kernel.linear_to_phys(ends)
    if linear.all():
        return (physical[:1] >> np.uint64(PAGE_SHIFT)).astype(np.int64), np.array([last - first + 1])
    pages = np.arange(first, last + 1, dtype=np.uint64) << np.uint64(PAGE_SHIFT)
    return runs_of(virt_to_pfns(kernel, pages))


__all__ = ["range_runs", "virt_to_pfns"]
