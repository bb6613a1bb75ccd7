# SPDX-License-Identifier: LGPL-2.1-or-later
"""KSM_PAGE: pages that ksmd merged (mm/ksm.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.memmap import Heads
from pageowner.layers.base import Band, Bools, Layer, Needs, Selection, untyped

KSM_BITS = 3


class Ksm(Layer):
    """The key is the stable node that the page's mapping leads to."""

    word = "KSM_PAGE"
    band = Band.MAPPING
    line = "KSM_PAGE mapcount:{mapcount} refcount:{refcount} address 0x{start:x}{by_pid}"
    # mm_slot.h split the names off in 6.1: stable_node became ksm_stable_node.
    needs = Needs(members=("struct ksm_stable_node.kpfn|struct stable_node.kpfn",))

    def domain(self, heads: Heads) -> Bools:
        return np.asarray(untyped(heads) & (heads.mapping_bits == KSM_BITS))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, heads.mapping[rows] - np.uint64(KSM_BITS), {"at": heads.pfn[rows]})

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame({"owner": [f"stable node 0x{key:x}" for key in keys.tolist()]})
