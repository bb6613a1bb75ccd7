# SPDX-License-Identifier: LGPL-2.1-or-later
"""What no layer claims: reserved pages, and the rest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.memmap import Heads
from pageowner.layers.base import Band, Bools, Layer, Selection


class Reserved(Layer):
    """PG_reserved pages that no structure names: firmware, holes, early boot."""

    word = "RESERVED_PAGE"
    band = Band.FALLBACK
    line = "RESERVED_PAGE"

    def domain(self, heads: Heads) -> Bools:
        bit = self.kernel.constant("PG_reserved")
        return np.asarray((heads.flags & np.uint64(1 << bit if bit is not None else 0)) != 0)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, np.zeros(len(rows), np.uint64))


class Other(Layer):
    """Pages in use whose user no layer knows. The key tells free ones (refcount 0) apart."""

    word = "OTHER_PAGE"
    band = Band.FALLBACK
    line = "OTHER_PAGE"
    before = ()

    def domain(self, heads: Heads) -> Bools:
        return np.ones(len(heads), np.bool_)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, (heads.refcount[rows] == 0).astype(np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame({"owner": ["not in use" if key else "in use" for key in keys.tolist()]})
