# SPDX-License-Identifier: LGPL-2.1-or-later
"""MODULE_PAGE: code and data of loaded modules (kernel/module/main.c)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.kernel_map import range_runs
from pageowner.kernel.module import ModulePart, read_modules
from pageowner.layers.base import Band, Claims, Layer, Needs


class Module(Layer):
    """The key is where the part of the module begins. A page that holds two small parts goes to the first."""

    word = "MODULE_PAGE"
    band = Band.WALKED
    line = "MODULE_PAGE section:{section} name:{name}"
    before = ("VMALLOC_PAGE", "BPF_PAGE")
    needs = Needs(members=("struct module.list",), globals=("modules",))

    @property
    def _parts(self) -> list[ModulePart]:
        return self.kernel.memo(read_modules)

    def walk(self) -> Iterator[Claims]:
        for part in self._parts:
            pfn, n = range_runs(self.kernel, part.start, part.size)
            yield Claims(pfn, n, np.full(len(pfn), part.start, np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        by_start = {part.start: part for part in self._parts}
        parts = [by_start[key] for key in keys.tolist()]
        return pl.DataFrame(
            {
                "section": [part.part for part in parts],
                "name": [part.name for part in parts],
                "owner": [f"{part.name} {part.part}" for part in parts],
            }
        )
