# SPDX-License-Identifier: LGPL-2.1-or-later
"""VMALLOC_PAGE: pages of vmalloc and vmap areas (mm/vmalloc.c)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.runs import runs_of
from pageowner.kernel.vmap import VmapAreas, read_vmap_areas
from pageowner.layers.base import Band, Claims, Layer, Needs


class Vmalloc(Layer):
    """The key is the ``struct vm_struct`` of the area."""

    word = "VMALLOC_PAGE"
    band = Band.WALKED
    line = "VMALLOC_PAGE caller:{caller} 0x{start:x} - 0x{end:x}"
    needs = Needs(members=("struct vm_struct.pages",), globals=("vmap_nodes|vmap_area_list",))

    @property
    def _areas(self) -> VmapAreas:
        return self.kernel.memo(read_vmap_areas)

    def walk(self) -> Iterator[Claims]:
        for vm, pfns in self._areas.pages():
            pfn, n = runs_of(pfns)
            yield Claims(pfn, n, np.full(len(pfn), vm, np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        areas = self._areas.frame
        caller = self.kernel.symbols.symbolize(areas.get_column("caller").to_numpy())
        named = areas.with_columns(pl.Series("caller", [_short(c) for c in caller], pl.String))
        wanted = pl.DataFrame({"vm": keys}, schema={"vm": pl.UInt64})
        return wanted.join(named, on="vm", how="left", maintain_order="left").with_columns(
            pl.col("caller").alias("owner")
        )


def _short(caller: str) -> str:
    """``name+0xoffset[module]`` of a ``%pS`` text: no size, and no space inside a value."""
    place, _, module = caller.partition(" ")
    return place.partition("/")[0] + module
