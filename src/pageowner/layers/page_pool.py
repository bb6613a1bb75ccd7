# SPDX-License-Identifier: LGPL-2.1-or-later
"""PAGE_POOL_PAGE: receive buffers of network drivers (net/core/page_pool.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.memmap import Heads
from pageowner.layers.base import Band, Bools, Layer, Needs, Selection

# PP_SIGNATURE is 0x40 above x86-64's ILLEGAL_POINTER_VALUE. Below it the low bits are compound_head's and
# the pfmemalloc mark; bits 7 to 38 hold an index of the DMA mapping since ee62ce7a1d90 (6.16, stable).
SIGNATURE = 0xDEAD000000000040
MASK = ~(0x3 | 0xFFFFFFFF << 7) & ((1 << 64) - 1)


class PagePool(Layer):
    """The key is the ``struct page_pool`` that the page points to, at the place of ``lru.prev``."""

    word = "PAGE_POOL_PAGE"
    band = Band.MAPPING
    line = "PAGE_POOL_PAGE pool:0x{pool:x} name:{name}"
    # 5.10 does not mark the pages; 7.x moved the words to struct netmem_desc, at the same place.
    needs = Needs(members=("struct page.pp_magic|struct netmem_desc.pp_magic",))
    before = ("ANON_PAGE", "FILE_PAGE", "KSM_PAGE")

    def domain(self, heads: Heads) -> Bools:
        word = np.asarray(heads.rows["word1"]) & np.uint64(MASK)
        return np.asarray((heads.type == 0) & (heads.refcount > 0) & (word == np.uint64(SIGNATURE)))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, np.ascontiguousarray(heads.rows["word2"][rows]))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        found = [self._name(int(key)) for key in keys.tolist()]
        problems = [None if name is not None else "its page_pool cannot be read" for name in found]
        names = [escape(name) if name else "(no device)" for name in found]
        pairs = zip(found, keys.tolist(), strict=True)
        owners = [escape(name) if name else f"pool 0x{key:x}" for name, key in pairs]
        return pl.DataFrame(
            {"pool": keys, "name": names, "owner": owners, "problem": problems},
            schema_overrides={"problem": pl.String, "name": pl.String},
        )

    def _name(self, pool: int) -> str | None:
        """Name of the interface that the pool serves, or of its device; "" for neither; None: unreadable."""
        device = self._pointer(pool, "p.dev")
        if device is None:
            return None
        interface = self._pointer(pool, "slow.netdev")  # 4dec64c52e24, 6.7
        if interface:
            return self.kernel.read_string(interface + self.kernel.offset("struct net_device", "name"), 16)
        if not device:
            return ""
        name = self._at(device + self.kernel.offset("struct device", "kobj.name"))
        return self.kernel.read_string(name, 64) if name else ""

    def _pointer(self, pool: int, member: str) -> int | None:
        try:
            return self._at(pool + self.kernel.offset("struct page_pool", member))
        except LookupError:
            return None

    def _at(self, address: int) -> int | None:
        rows, ok = self.kernel.gather(np.array([address], np.uint64), np.dtype("<u8"))
        return int(rows[0]) if ok[0] else None
