# SPDX-License-Identifier: LGPL-2.1-or-later
"""HUGETLB_PAGE: pages of the hugetlb pools, in use and free (mm/hugetlb.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel import page_type
from pageowner.kernel.address_space import AddressSpaces
from pageowner.kernel.memmap import Heads
from pageowner.kernel.path import Paths
from pageowner.kernel.process_memory import read_process_memory
from pageowner.layers.base import Band, Layer, Selection

U64 = npt.NDArray[np.uint64]
_FREE = 1 << 40
ANON_BITS = 1
# Addresses of address_spaces are above, all other keys below.
_KERNEL_HALF = 1 << 63


class Hugetlb(Layer):
    """The key is the address_space of a file's page; 1 + the number of the mm that maps a private one (0:
    none); or a mark of its own for the free pool, where a page has no references."""

    word = "HUGETLB_PAGE"
    band = Band.TYPED
    line = (
        "HUGETLB_PAGE size:{kib}kB state:{state} mapcount:{mapcount} refcount:{refcount}"
        " 0x{start:x} - 0x{end:x}{by_pid}{path}"
    )
    types = (page_type.HUGETLB,)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        free = heads.refcount[rows] == 0
        mapping = heads.mapping[rows]
        file = ~free & (heads.mapping_bits[rows] == 0) & (mapping >= np.uint64(_KERNEL_HALF))
        key = np.where(file, mapping, 0).astype(np.uint64)
        private = np.flatnonzero(~free & ~file)
        if len(private):
            at = rows[private]
            key[private] = self.kernel.memo(read_process_memory).first_mm(heads.pfn[at], heads.n[at]) + 1
        key[free] = _FREE
        return Selection(rows, key, {"kib": heads.n[rows] * 4})

    def describe(self, keys: U64) -> pl.DataFrame:
        paths = self._paths(keys)
        owners = [path or self._user(key) for key, path in zip(keys.tolist(), paths, strict=True)]
        return pl.DataFrame(
            {
                "state": ["free" if key == _FREE else "used" for key in keys.tolist()],
                "path": [f" path:{path}" if path else "" for path in paths],
                "owner": owners,
                "problem": self._problems(keys),
            },
            schema={"state": pl.String, "path": pl.String, "owner": pl.String, "problem": pl.String},
        )

    def _paths(self, keys: U64) -> list[str]:
        file = keys >= np.uint64(_KERNEL_HALF)
        out = [""] * len(keys)
        if file.any():
            inodes = self.kernel.memo(AddressSpaces).describe(keys[file])["inode"].to_numpy()
            names = self.kernel.memo(Paths).of_inodes(inodes)
            for at, inode, name in zip(np.flatnonzero(file).tolist(), inodes.tolist(), names, strict=True):
                out[at] = escape(name) or f"inode-0x{inode:x}"
        return out

    def _problems(self, keys: U64) -> list[str | None]:
        problem = self.kernel.memo(AddressSpaces).describe(keys)["problem"].to_list()
        return [p if key >= _KERNEL_HALF else None for p, key in zip(problem, keys.tolist(), strict=True)]

    def _user(self, key: int) -> str:
        if key == _FREE:
            return "free pool"
        return self.kernel.memo(read_process_memory).name(key - 1) if key else "not mapped"
