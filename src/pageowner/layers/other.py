# SPDX-License-Identifier: LGPL-2.1-or-later
"""RESERVED_PAGE: what the page allocator was never given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
