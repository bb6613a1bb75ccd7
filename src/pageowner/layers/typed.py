# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages that say themselves that they are of no use now: OFFLINE_PAGE, GUARD_PAGE; and DEVICE_PAGE."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel import page_type
from pageowner.kernel.callers import Callers, call_site, read_callers
from pageowner.kernel.memmap import Heads
from pageowner.kernel.page_flags import read_page_flags
from pageowner.layers.base import Band, Bools, Layer, Needs, Selection

_UNACCEPTED = 1


class Offline(Layer):
    """Given back to the hypervisor (balloon, virtio-mem), or not yet accepted from it.

    All drivers use the one type; the key is the call site that took the page, which tells which it was.
    """

    word = "OFFLINE_PAGE"
    band = Band.TYPED
    line = "OFFLINE_PAGE name:{owner}"
    types = (page_type.OFFLINE, page_type.UNACCEPTED)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        callers: Callers = self.kernel.memo(read_callers)
        key = callers.of(heads.handle)[0][rows]
        return Selection(
            rows, np.where(heads.type[rows] == page_type.UNACCEPTED, np.uint64(_UNACCEPTED), key)
        )

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        texts = [call_site(text) for text in self.kernel.symbols.symbolize(keys)]
        special = {0: "unknown", _UNACCEPTED: "unaccepted"}
        owners = [special.get(key, text) for key, text in zip(keys.tolist(), texts, strict=True)]
        return pl.DataFrame({"owner": owners}, schema={"owner": pl.String})


class Guard(Layer):
    """Kept unmapped beside allocated pages (debug_pagealloc=on, debug_guardpage_minorder)."""

    word = "GUARD_PAGE"
    band = Band.TYPED
    line = "GUARD_PAGE"
    types = (page_type.GUARD,)


class Device(Layer):
    """ZONE_DEVICE: struct pages of memory that is a device's. The key is the ``struct dev_pagemap``."""

    word = "DEVICE_PAGE"
    band = Band.FALLBACK
    line = "DEVICE_PAGE type:{type} pgmap:0x{pgmap:x}"
    before = ("RESERVED_PAGE", "UNOWNED_PAGE")
    needs = Needs(members=("struct dev_pagemap.type",))

    def domain(self, heads: Heads) -> Bools:
        zone = self.kernel.constant("ZONE_DEVICE")
        if zone is None:
            return np.zeros(len(heads), np.bool_)
        return np.asarray(read_page_flags(self.kernel).zone(heads.flags) == np.uint64(zone))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        # page.pgmap shares its word with lru.next; 6.14 moved it to the folio, at the same place.
        return Selection(rows, np.ascontiguousarray(heads.rows["word1"][rows]))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        rows, ok = self.kernel.gather(keys, self.kernel.dtype("struct dev_pagemap", {"type": "type"}))
        names = self._types()
        kinds = [
            names.get(int(row["type"]), "unknown") if good else "unknown"
            for row, good in zip(rows, ok, strict=True)
        ]
        owners = [f"{kind} 0x{key:x}" for kind, key in zip(kinds, keys.tolist(), strict=True)]
        return pl.DataFrame({"type": kinds, "pgmap": keys, "owner": owners})

    def _types(self) -> dict[int, str]:
        enumerators = self.kernel.type("enum memory_type").enumerators or ()
        return {e.value: e.name.removeprefix("MEMORY_DEVICE_").lower() for e in enumerators}
