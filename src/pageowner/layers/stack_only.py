# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only the allocation record can tell, or not even that: the last layers, which leave no page."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel import page_type
from pageowner.kernel.callers import Callers, call_site, read_callers
from pageowner.kernel.memmap import Heads
from pageowner.layers.base import Band, Bools, Layer, Needs, Selection


class _ByStack(Layer):
    """The key is the address of the call site."""

    band = Band.FALLBACK

    @property
    def _callers(self) -> Callers:
        return self.kernel.memo(read_callers)

    def _early(self, heads: Heads) -> Bools:
        return np.isin(heads.handle, self._callers.early)

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        texts = [call_site(text) for text in self.kernel.symbols.symbolize(keys)]
        texts = [text if key else "unknown" for text, key in zip(texts, keys.tolist(), strict=True)]
        return pl.DataFrame({"owner": texts}, schema={"owner": pl.String})


class LargeKmalloc(_ByStack):
    """kmalloc() of more than two pages, which no slab cache serves (mm/slub.c).

    A page type since 6.15-6.17, but one that tells the allocator and not the user: a structure that names
    its own pages (a socket) is heard first. Before, the record's stack tells; or, on a record from before
    page_owner was up, that the page is compound: nothing else that early asks for __GFP_COMP.
    """

    word = "LARGE_KMALLOC_PAGE"
    line = "LARGE_KMALLOC_PAGE caller:{owner}"
    before = ("RESERVED_PAGE", "EARLY_PAGE", "NO_STACK_PAGE", "ALLOC_PAGE", "UNOWNED_PAGE")

    @cached_property
    def _has_type(self) -> bool:
        return self.kernel.constant("PGTY_large_kmalloc") is not None

    def domain(self, heads: Heads) -> Bools:
        typed = heads.type == page_type.LARGE_KMALLOC
        if typed.any() or self._has_type:
            return np.asarray(typed)
        plain = (heads.type == 0) & (heads.refcount > 0) & (heads.mapping == 0)
        rows = np.flatnonzero(plain)
        handle = heads.handle[rows]
        hidden = np.isin(handle, self._callers.early) & heads.compound[rows]
        plain[rows] = self._callers.of(handle)[1] | hidden
        return np.asarray(plain)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, self._callers.of(heads.handle)[0][rows])


class Early(_ByStack):
    """Allocated before page_owner was up, and no structure that we know owns it."""

    word = "EARLY_PAGE"
    line = "EARLY_PAGE"
    before = ("NO_STACK_PAGE", "ALLOC_PAGE", "UNOWNED_PAGE")
    needs = Needs(globals=("early_handle",))

    def domain(self, heads: Heads) -> Bools:
        return self._early(heads)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, np.zeros(len(rows), np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame({"owner": ["before page_owner was up"] * len(keys)})


class NoStack(_ByStack):
    """Recorded, but the record has no stack: the depot was full, or page_owner itself was allocating."""

    word = "NO_STACK_PAGE"
    line = "NO_STACK_PAGE"
    before = ("ALLOC_PAGE", "UNOWNED_PAGE")

    def domain(self, heads: Heads) -> Bools:
        none = self._callers.of(heads.handle)[0] == 0
        return np.asarray(heads.recorded & none & ~self._early(heads))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, np.zeros(len(rows), np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame({"owner": ["no stack"] * len(keys)})


class Alloc(_ByStack):
    """The call site that asked the page allocator, where neither the page nor a structure names the user."""

    word = "ALLOC_PAGE"
    line = "ALLOC_PAGE caller:{owner}"
    before = ("UNOWNED_PAGE",)

    def domain(self, heads: Heads) -> Bools:
        return np.asarray(heads.recorded & (self._callers.of(heads.handle)[0] != 0))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, self._callers.of(heads.handle)[0][rows])


class Unowned(Layer):
    """No record and no structure; with page_owner off, what only a record could tell.

    The key tells pages without a reference apart: mostly those behind the first of a larger allocation.
    """

    word = "UNOWNED_PAGE"
    band = Band.FALLBACK
    line = "UNOWNED_PAGE refcount:{refcount}"

    def domain(self, heads: Heads) -> Bools:
        return np.ones(len(heads), np.bool_)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, (heads.refcount[rows] == 0).astype(np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame({"owner": ["no reference" if key else "in use" for key in keys.tolist()]})
