# SPDX-License-Identifier: LGPL-2.1-or-later
"""HUGETLB_PAGE: pages of the hugetlb pools, in use and free (mm/hugetlb.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Heads
from pageowner.layers.base import Band, Layer, Selection

_FREE = 1 << 16


class Hugetlb(Layer):
    """The key is the order, plus a bit for "in the free pool" (refcount 0)."""

    word = "HUGETLB_PAGE"
    band = Band.TYPED
    line = (
        "HUGETLB_PAGE size:{kib}kB state:{state} mapcount:{mapcount} refcount:{refcount}"
        " 0x{start:x} - 0x{end:x}{by_pid}"
    )
    types = (page_type.HUGETLB,)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        order = np.log2(heads.n[rows]).astype(np.uint64)
        free = np.where(heads.refcount[rows] == 0, np.uint64(_FREE), np.uint64(0))
        return Selection(rows, order | free)

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        sizes = [4 << (key & 0xFFFF) for key in keys.tolist()]
        states = ["free" if key & _FREE else "used" for key in keys.tolist()]
        owners = [f"{size} kB {state}" for size, state in zip(sizes, states, strict=True)]
        return pl.DataFrame({"kib": sizes, "state": states, "owner": owners})
