# SPDX-License-Identifier: LGPL-2.1-or-later
"""PAGE_TABLE_PAGE: the tables of virtual memory, of every process and of the kernel."""

from __future__ import annotations

from collections.abc import Iterator

import drgn
import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Heads
from pageowner.kernel.pagetable.tables import DEPOSITED, KERNEL_MM
from pageowner.kernel.pagetable.x86_64 import LEVEL_NAMES
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.table_owners import read_table_owners
from pageowner.kernel.target import PAGE_SHIFT, PAGE_SIZE
from pageowner.layers.base import Band, Claims, Layer, Selection

_LEVEL_BITS = 8
_UNLINKED, _KERNEL, _FIRST = 0, 1, 2
_SPARE = 1 << 7


class PageTable(Layer):
    """Tables that are reached from a PGD, typed or not; and typed ones that nothing leads to.

    Which levels have the type depends on the kernel (PTE and PMD at first, all since 6.14), and the kernel's
    own have it since 7.0. The key packs whose it is and the level.
    """

    word = "PAGE_TABLE_PAGE"
    band = Band.TYPED
    line = "PAGE_TABLE_PAGE level:{level} name:{name}"
    types = (page_type.TABLE,)

    def walk(self) -> Iterator[Claims]:
        tables = self.kernel.memo(read_table_owners)
        who = np.where(tables.mm == KERNEL_MM, _KERNEL, tables.mm.astype(np.int64) + _FIRST)
        level = tables.level.astype(np.int64) | np.where(tables.role == DEPOSITED, _SPARE, 0)
        key = (who << _LEVEL_BITS | level).astype(np.uint64)
        yield Claims(tables.pfn, np.ones(len(tables), np.int64), key)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        """Typed, but no table leads to it: being set up or torn down, or of an mm that we cannot find."""
        return Selection(rows, np.zeros(len(rows), np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        names = [self._name(key >> _LEVEL_BITS) for key in keys.tolist()]
        levels = [_level(key & ((1 << _LEVEL_BITS) - 1)) for key in keys.tolist()]
        owner = [f"{name} {level}" for name, level in zip(names, levels, strict=True)]
        return pl.DataFrame({"level": levels, "name": names, "owner": owner})

    def inspect(self, pfn: int) -> list[tuple[str, str]]:
        try:
            entries = np.frombuffer(self.kernel.read_phys(pfn << PAGE_SHIFT, PAGE_SIZE), np.uint64)
        except drgn.FaultError:
            return []
        return [("entries", f"{np.count_nonzero(entries)} of {len(entries)} used")]

    def _name(self, who: int) -> str:
        if who < _FIRST:
            return "kernel" if who == _KERNEL else "not linked"
        return self.kernel.memo(read_process_memory).name(who - _FIRST)


def _level(code: int) -> str:
    name = LEVEL_NAMES.get(code & ~_SPARE, "?")
    return f"{name},spare" if code & _SPARE else name
