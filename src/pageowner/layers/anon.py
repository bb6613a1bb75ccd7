# SPDX-License-Identifier: LGPL-2.1-or-later
"""ANON_PAGE: memory that processes have of their own (mm/rmap.c). Its owner is the process that maps it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.memmap import Heads
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.layers.base import Band, Bools, Layer, Selection, untyped

ANON_BITS = 1


class Anon(Layer):
    """The key is 1 + the number of the mm that maps the folio's first mapped page, 0 where none does.

    (An anon_vma is shared by all children of a fork and says little; page tables say who has it.)
    """

    word = "ANON_PAGE"
    band = Band.MAPPING
    line = "ANON_PAGE address 0x{start:x}{by_pid}"

    def domain(self, heads: Heads) -> Bools:
        return np.asarray(untyped(heads) & (heads.mapping_bits == ANON_BITS))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        mm = self._memory.first_mm(heads.pfn[rows], heads.n[rows])
        return Selection(rows, (mm + 1).astype(np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame(
            {"owner": [self._owner(int(key) - 1) for key in keys]}, schema={"owner": pl.String}
        )

    @property
    def _memory(self) -> ProcessMemory:
        return self.kernel.memo(read_process_memory)

    def _owner(self, mm: int) -> str:
        return self._memory.name(mm) if mm >= 0 else "not mapped"
