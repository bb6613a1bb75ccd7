# SPDX-License-Identifier: LGPL-2.1-or-later
"""``folio_mapcount()`` of the units of a section, as the kernel would compute it from the stored words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Heads, Pages
from pageowner.kernel.target import Kernel

I32 = npt.NDArray[np.int32]


class FolioCounts:
    """How this kernel stores the mapcount of a large folio."""

    def __init__(self, kernel: Kernel) -> None:
        # Until 6.1 a mapping of the whole compound page counts in every subpage, too.
        self._entire_in_subpages = kernel.has_member("struct page", "compound_mapcount")
        bit = kernel.constant("PG_double_map")
        self._double_map = 0 if bit is None else 1 << bit

    def mapcounts(self, pages: Pages) -> I32:
        """int32, one per row of ``pages.heads``; 0 for units that cannot be mapped."""
        heads = pages.heads
        out = np.ascontiguousarray(heads.rows["mapcount"]).view(np.int32) + np.int32(1)
        out[heads.type != 0] = 0
        large = heads.compound & page_type.any_of(heads.type, (page_type.NONE, page_type.HUGETLB))
        if large.any():
            out[large] = self._large(pages, heads)[large]
        return out

    def _large(self, pages: Pages, heads: Heads) -> I32:
        names = heads.second.dtype.names or ()
        if (
            "large_mapcount" in names
        ):  # 05c5323b2a34 ("mm: track mapcount of large folios in single value"), 6.10
            return np.asarray(heads.second["large_mapcount"] + np.int32(1))
        entire = heads.second["entire_mapcount"].astype(np.int32) + np.int32(1)
        # Hugetlb counts whole mappings only; for the rest the subpages are added up.
        total = np.where(heads.type == page_type.HUGETLB, entire, entire + self._subpages(pages, heads))
        if self._entire_in_subpages:
            total = total - self._counted_twice(heads, entire)
        return np.asarray(total, np.int32)

    def _subpages(self, pages: Pages, heads: Heads) -> I32:
        rows = pages.head
        inside = rows >= 0
        sums = np.bincount(rows[inside], weights=(pages.mapcount[inside] + 1), minlength=len(heads))
        return sums.astype(np.int32)

    def _counted_twice(self, heads: Heads, entire: I32) -> I32:
        hugetlb = heads.type == page_type.HUGETLB
        anon = (heads.mapping & np.uint64(1)) != 0
        double = (heads.second["flags_1"] & np.uint64(self._double_map)) != 0
        extra = np.where(anon, np.where(double, heads.n, 0), entire * heads.n)
        return np.where(hugetlb, 0, extra).astype(np.int32)
