# SPDX-License-Identifier: LGPL-2.1-or-later
"""ZSMALLOC_PAGE: compressed pages of zram and zswap (mm/zsmalloc.c)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel import page_type
from pageowner.kernel.memmap import Heads
from pageowner.layers.base import Band, Bools, Layer, Selection

U64 = npt.NDArray[np.uint64]
MAGIC = 0x58  # ZSPAGE_MAGIC, mm/zsmalloc.c
MOVABLE_BITS = 2  # PAGE_MAPPING_MOVABLE, until 6.16
_ZSPAGE = "struct zspage"


class Zsmalloc(Layer):
    """The key is the ``struct zs_pool``.

    Every page of a zspage points to it (``private``), and that to its pool. Since 6.11 the page has a type;
    before, ``mapping`` is the pool's movable_operations (6.0), or its inode's address_space.
    """

    word = "ZSMALLOC_PAGE"
    band = Band.TYPED
    line = "ZSMALLOC_PAGE user:{user} pool:{owner}"
    types = (page_type.ZSMALLOC,)

    def domain(self, heads: Heads) -> Bools:
        return super().domain(heads) | self._movable(heads)

    def _movable(self, heads: Heads) -> Bools:
        plain = heads.mapping_bits == MOVABLE_BITS
        if not plain.any():
            return np.asarray(plain)
        mapping = heads.mapping - np.uint64(MOVABLE_BITS)
        plain &= (heads.type == 0) & (heads.refcount > 0)
        mops = self.kernel.address("zsmalloc_mops")
        if mops is not None:  # 68f2736a8583, 6.0
            return np.asarray(plain & (mapping == np.uint64(mops)))
        mine = np.zeros(len(heads), np.bool_)
        rows = np.flatnonzero(plain)
        mine[rows] = self._pools_of_spaces(mapping[rows]) != 0
        return mine

    def _pools_of_spaces(self, spaces: U64) -> U64:
        """Until 5.19: the pool that an address_space keeps in ``private_data``; 0: it is not zsmalloc's."""
        aops = self.kernel.address("zsmalloc_aops")
        if not len(spaces) or aops is None:
            return np.zeros_like(spaces)
        fields = {"a_ops": "a_ops", "pool": "private_data"}
        rows, ok = self.kernel.gather(spaces, self.kernel.dtype("struct address_space", dict(fields)))
        mine = ok & (rows["a_ops"] == np.uint64(aops))
        return np.where(mine, rows["pool"], 0).astype(np.uint64)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        zspage = np.ascontiguousarray(heads.rows["private"][rows])
        if not self.kernel.has_member(_ZSPAGE, "inuse"):
            # The types are those of a module, and until 5.10 those of modules are not in memory.
            return Selection(rows, self._pools_of_spaces(heads.mapping[rows] - np.uint64(MOVABLE_BITS)))
        pages, ok = self.kernel.gather(zspage, self._dtype)
        if "pool" in (self._dtype.names or ()):
            pool = np.ascontiguousarray(pages["pool"])
        else:
            pool = self._pools_of_spaces(heads.mapping[rows] - np.uint64(MOVABLE_BITS))
        return Selection(rows, np.where(ok & self._magic(zspage, ok), pool, 0).astype(np.uint64))

    @cached_property
    def _dtype(self) -> np.dtype[Any]:
        fields: dict[str, tuple[str, ...] | str] = {"inuse": "inuse"}
        if self.kernel.has_member(_ZSPAGE, "pool"):
            fields["pool"] = "pool"
        return self.kernel.dtype(_ZSPAGE, fields)

    def _magic(self, zspage: U64, ok: Bools) -> Bools:
        """Which of these are zspages, by the 8-bit magic in their first word."""
        bit = self._magic_bit()
        if bit is None:
            return ok
        words, _ = self.kernel.gather(zspage, np.dtype("<u4"))
        return np.asarray((words >> np.uint32(bit)) & np.uint32(0xFF) == MAGIC)

    def _magic_bit(self) -> int | None:
        try:
            outer = self.kernel.type(_ZSPAGE).members[0]
            members = outer.type.members if outer.name is None else self.kernel.type(_ZSPAGE).members
            return next(int(m.bit_offset) for m in members if m.name == "magic")
        except (StopIteration, AttributeError, TypeError):
            return None

    def describe(self, keys: U64) -> pl.DataFrame:
        try:
            name = self.kernel.dtype("struct zs_pool", {"name": "name"})
        except LookupError:
            name = np.dtype([("name", "<u8")])  # it has always begun with it
        rows, ok = self.kernel.gather(keys, name)
        texts = self.kernel.read_strings(np.where(ok, rows["name"], 0), 64)
        names = [escape(text or "") for text in texts]
        problems = [None if text else "its zspage leads to no pool" for text in texts]
        users = [next((user for user in ("zram", "zswap") if n.startswith(user)), "other") for n in names]
        return pl.DataFrame(
            {"owner": names, "user": users, "problem": problems},
            schema={"owner": pl.String, "user": pl.String, "problem": pl.String},
        )
