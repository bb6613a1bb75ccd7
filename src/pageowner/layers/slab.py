# SPDX-License-Identifier: LGPL-2.1-or-later
"""SLAB_PAGE: slabs and the caches that they belong to (mm/slub.c)."""

from __future__ import annotations

import drgn
import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel import page_type
from pageowner.kernel.lists import list_entries
from pageowner.kernel.memmap import Heads
from pageowner.kernel.sections import read_sections
from pageowner.kernel.slab_objects import slab_objects
from pageowner.kernel.target import PAGE_SHIFT
from pageowner.kernel.units import units_of
from pageowner.layers.base import Band, Layer, Needs, Selection


class Slab(Layer):
    """The key is the ``struct kmem_cache`` that the slab points to."""

    word = "SLAB_PAGE"
    band = Band.TYPED
    line = "SLAB_PAGE slab_name:{owner}"
    types = (page_type.SLAB,)
    needs = Needs(members=("struct kmem_cache.name", "struct kmem_cache.list"), globals=("slab_caches",))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, np.ascontiguousarray(heads.rows["slab_cache"][rows]))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        known = self._caches()
        names = self.kernel.dtype("struct kmem_cache", {"name": "name"})
        rows, ok = self.kernel.gather(keys, names)
        texts = self.kernel.read_strings(np.where(ok, rows["name"], 0), 64)
        problems = [
            None if key in known and text else "its slab_cache is not in slab_caches"
            for key, text in zip(keys.tolist(), texts, strict=True)
        ]
        return pl.DataFrame(
            {"owner": [escape(text or "") for text in texts], "problem": problems},
            schema={"owner": pl.String, "problem": pl.String},
        )

    def inspect(self, pfn: int) -> list[tuple[str, str]]:
        """Its objects, and which are free."""
        sections = self.kernel.memo(read_sections)
        units = units_of(self.kernel, np.array([pfn]))
        head = int(units.pfn[units.row[0]])
        slab = int(sections.page_address(np.array([head]))[0])
        start = self.kernel.page_offset + (head << PAGE_SHIFT)
        found = slab_objects(self.kernel, slab, start)
        free = np.flatnonzero(found.free)
        broken = "; its list of free objects is broken" if found.broken else ""
        count = f"{len(found.free)} of {found.size} bytes from 0x{found.start:x}, {len(free)} free{broken}"
        rows = [("objects", count)]
        return [*rows, ("free ones", ranges_text(free))] if 0 < len(free) < len(found.free) else rows

    def _caches(self) -> set[int]:
        """Every cache on the list ``slab_caches``: a slab of another one is corrupt or torn."""
        offset = self.kernel.offset("struct kmem_cache", "list")
        head = self.kernel.object("slab_caches").address_of_().value_()
        try:
            return {entry - offset for entry in list_entries(self.kernel, head)}
        except drgn.FaultError:
            return set()


def ranges_text(numbers: npt.NDArray[np.int64]) -> str:
    """Ascending *numbers* as text: ``0-3 7 9-12``."""
    cut = np.flatnonzero(np.diff(numbers) != 1) + 1
    pieces = [(int(part[0]), int(part[-1])) for part in np.split(numbers, cut) if len(part)]
    return " ".join(str(low) if low == high else f"{low}-{high}" for low, high in pieces)
