# SPDX-License-Identifier: LGPL-2.1-or-later
"""FREE_PAGE: blocks of the buddy allocator (mm/page_alloc.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Heads
from pageowner.layers.base import Band, Layer, Selection


class FreePages(Layer):
    """Free blocks. The key is the order of the block."""

    word = "FREE_PAGE"
    band = Band.FREE
    line = "FREE_PAGE order:{order}"
    types = (page_type.BUDDY,)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        order = np.log2(heads.n[rows]).astype(np.uint64)
        return Selection(rows, order)

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame({"order": keys, "owner": [f"order {key}" for key in keys.tolist()]})
