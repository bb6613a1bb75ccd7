# SPDX-License-Identifier: LGPL-2.1-or-later
"""References to folios that we can account for: a lower bound of ``folio_ref_count()`` (include/linux/mm.h).

What cannot be seen from here: per-CPU LRU batches, pins (get_user_pages, pipes, sockets), a task that
handles the page at this moment. So the stored count may be larger, but never smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Heads
from pageowner.kernel.page_flags import flag_mask
from pageowner.kernel.target import Kernel

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """References per head, int64[n] each. ``mappings``: page-table entries (``folio_mapcount()``); ``cache``:
    the page cache's; ``swap``: the swap cache's; ``private``: buffers or other data that a file system hung
    on it. All are 0 for heads of which nothing is known: free, torn, and typed ones other than hugetlb."""

    mappings: I64
    cache: I64
    swap: I64
    private: I64

    @property
    def total(self) -> I64:
        return self.mappings + self.cache + self.swap + self.private


class References:
    """Counts the known references of one kernel's folios. Use it through ``kernel.memo(References)``."""

    def __init__(self, kernel: Kernel) -> None:
        self._swapcache = flag_mask(kernel, "PG_swapcache")
        self._swapbacked = flag_mask(kernel, "PG_swapbacked")
        self._private = flag_mask(kernel, "PG_private")

    def of(self, heads: Heads, mapcounts: npt.NDArray[np.int32]) -> Known:
        """What is known of *heads*, given their ``folio_mapcount()``.

        The page cache holds a reference per page of a folio, on hugetlb pages at least one; so does the swap
        cache; private data of a file's page holds one (``folio_expected_ref_count()``).
        """
        plain = (heads.type == page_type.NONE) & (heads.refcount > 0) & ~heads.torn
        hugetlb = (heads.type == page_type.HUGETLB) & (heads.refcount > 0) & ~heads.torn
        bits = heads.mapping_bits
        of_file = (bits == 0) & (heads.mapping != 0)
        # Files use the same bit for their own purposes. (In the swap cache, shmem has no mapping.)
        swap = plain & ~of_file & self._has(heads, self._swapcache) & self._has(heads, self._swapbacked)
        cached = plain & of_file
        return Known(
            mappings=np.where(plain | hugetlb, np.maximum(mapcounts, 0), 0).astype(np.int64),
            cache=np.where(cached, heads.n, np.where(hugetlb & of_file, 1, 0)),
            swap=np.where(swap, heads.n, 0),
            private=(cached & self._has(heads, self._private)).astype(np.int64),
        )

    def _has(self, heads: Heads, mask: int) -> npt.NDArray[np.bool_]:
        return np.asarray((heads.flags & np.uint64(mask)) != 0)
