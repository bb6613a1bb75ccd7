# SPDX-License-Identifier: LGPL-2.1-or-later
"""VMALLOC_PAGE: pages of vmalloc and vmap areas (mm/vmalloc.c)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

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
        yield Claims(*self._areas.runs())

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        areas = self._areas.by_vm.of(keys)
        texts = self.kernel.symbols.symbolize(areas.get_column("caller").fill_null(0).to_numpy())
        caller = pl.Series("caller", [_short(text) for text in texts], pl.String)
        return areas.with_columns(caller, caller.alias("owner"))


def _short(caller: str) -> str:
    """``name+0xoffset[module]`` of a ``%pS`` text: no size, and no space inside a value."""
    place, _, module = caller.partition(" ")
    return place.partition("/")[0] + module
