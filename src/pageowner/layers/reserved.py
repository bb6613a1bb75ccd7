# SPDX-License-Identifier: LGPL-2.1-or-later
"""RESERVED_PAGE: what the page allocator was never given: holes, firmware, and what boot took."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.memmap import Heads
from pageowner.kernel.page_flags import flag_mask
from pageowner.kernel.reserved import ReservedNames, read_reserved_names
from pageowner.layers.base import Band, Bools, Layer, Needs, Selection


class Reserved(Layer):
    """PG_reserved pages that no other layer owns. The key is the number of the name."""

    word = "RESERVED_PAGE"
    band = Band.FALLBACK
    line = "RESERVED_PAGE name:{owner}"
    before = ("EARLY_PAGE", "NO_STACK_PAGE", "ALLOC_PAGE", "UNOWNED_PAGE")
    needs = Needs(globals=("iomem_resource",))

    @property
    def _names(self) -> ReservedNames:
        return self.kernel.memo(read_reserved_names)

    def domain(self, heads: Heads) -> Bools:
        return np.asarray((heads.flags & np.uint64(flag_mask(self.kernel, "PG_reserved"))) != 0)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, self._names.of(heads.pfn[rows]).astype(np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame({"owner": [self._names.names[key] for key in keys.tolist()]})
