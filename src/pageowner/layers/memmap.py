# SPDX-License-Identifier: LGPL-2.1-or-later
"""MEMMAP_PAGE, PAGE_EXT_PAGE, STACKDEPOT_PAGE: what the kernel spends on keeping track of pages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.kernel_map import range_runs
from pageowner.kernel.page_ext import PAGE_EXT_INVALID, read_page_ext
from pageowner.kernel.sections import Sections, read_sections
from pageowner.kernel.stackdepot import depot_memory
from pageowner.layers.base import Band, Claims, Layer, Needs


class _PerSection(Layer):
    """Tables of which each memory section has one; the key is the section's number."""

    band = Band.WALKED

    @property
    def _sections(self) -> Sections:
        return self.kernel.memo(read_sections)

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        owners = [f"section {key}" for key in keys.tolist()]
        return pl.DataFrame({"section": keys.astype(np.int64), "owner": owners})

    def _claims(self, number: int, start: int, size: int) -> Claims:
        pfn, n = range_runs(self.kernel, start, size)
        return Claims(pfn, n, np.full(len(pfn), number, np.uint64))


class Memmap(_PerSection):
    """The struct pages themselves, as vmemmap maps them (mm/sparse-vmemmap.c)."""

    word = "MEMMAP_PAGE"
    line = "MEMMAP_PAGE section:{section}"

    def walk(self) -> Iterator[Claims]:
        size = self._sections.page_size
        for section in self._sections:
            yield self._claims(section.nr, section.memmap, section.n * size)


class PageExtTable(_PerSection):
    """The page_ext tables: mostly page_owner's records (mm/page_ext.c)."""

    word = "PAGE_EXT_PAGE"
    line = "PAGE_EXT_PAGE section:{section}"
    before = ("VMALLOC_PAGE",)
    needs = Needs(members=("struct mem_section.page_ext",), globals=("page_ext_size",))

    def walk(self) -> Iterator[Claims]:
        page_ext = read_page_ext(self.kernel)
        for section in self._sections if page_ext is not None else ():
            if page_ext is not None and section.page_ext and not section.page_ext & PAGE_EXT_INVALID:
                start = page_ext.address(section.page_ext, section.start)
                yield self._claims(section.nr, start, section.n * page_ext.entry_size)


class StackDepotPages(Layer):
    """Pools of call stacks, and the hash table that finds them (lib/stackdepot.c)."""

    word = "STACKDEPOT_PAGE"
    band = Band.WALKED
    line = "STACKDEPOT_PAGE name:{owner}"
    before = ("VMALLOC_PAGE",)
    needs = Needs(members=("struct stack_record.size",), globals=("stack_pools|stack_slabs",))

    def walk(self) -> Iterator[Claims]:
        for number, (_, pieces) in enumerate(depot_memory(self.kernel)):
            for start, size in pieces:
                pfn, n = range_runs(self.kernel, start, size)
                yield Claims(pfn, n, np.full(len(pfn), number, np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        names = [name for name, _ in depot_memory(self.kernel)]
        return pl.DataFrame({"owner": [names[key] for key in keys.tolist()]})
