# SPDX-License-Identifier: LGPL-2.1-or-later
"""PERCPU_PAGE: memory that each CPU has a copy of (mm/percpu.c)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.percpu import PerCpu, read_percpu
from pageowner.kernel.runs import runs_of
from pageowner.kernel.target import PAGE_SHIFT
from pageowner.layers.base import Band, Claims, Layer, Needs


class PerCpuPages(Layer):
    """The key is the ``struct pcpu_chunk``; column ``cpu``: whose unit the page is in."""

    word = "PERCPU_PAGE"
    band = Band.WALKED
    line = "PERCPU_PAGE chunk:{chunk} cpu:{cpu}"
    before = ("VMALLOC_PAGE",)
    needs = Needs(members=("struct pcpu_chunk.populated",), globals=("pcpu_chunk_lists", "pcpu_first_chunk"))

    @property
    def _percpu(self) -> PerCpu:
        return self.kernel.memo(read_percpu)

    def walk(self) -> Iterator[Claims]:
        for chunk in self._percpu.chunks:
            for cpu, pfns in self._percpu.pages(chunk):
                pfn, n = runs_of(pfns)
                key = np.full(len(pfn), chunk.address, np.uint64)
                yield Claims(pfn, n, key, {"cpu": np.full(len(pfn), cpu, np.int64)})

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        first = {chunk.address for chunk in self._percpu.chunks if chunk.first}
        names = ["first" if key in first else f"0x{key:x}" for key in keys.tolist()]
        return pl.DataFrame({"chunk": names, "owner": [f"chunk {name}" for name in names]})

    def inspect(self, pfn: int) -> list[tuple[str, str]]:
        for chunk in self._percpu.chunks:
            for cpu, pfns in self._percpu.pages(chunk):
                for at in np.flatnonzero(pfns == pfn).tolist():
                    offset = int(chunk.pages[at]) << PAGE_SHIFT
                    return [("unit", f"offset 0x{offset:x} in the unit of CPU {cpu}")]
        return []
