# SPDX-License-Identifier: LGPL-2.1-or-later
"""SWAPCACHE_PAGE: pages that also have a slot in a swap area (mm/swap_state.c)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.address_space import AddressSpaces
from pageowner.kernel.mapping import expand
from pageowner.kernel.memmap import Heads
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.kernel.swap import TYPE_SHIFT, read_shmem_swaps, read_swap_areas, split_entry
from pageowner.layers.base import Band, Bools, Layer, Needs, Selection, untyped

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
ANON_BITS = 1
_NOBODY = -2  # nothing has the page or its slot any more
_OWNER = np.dtype([("type", "<u8"), ("mm", "<i8"), ("inode", "<u8")])


class SwapCache(Layer):
    """Anonymous and shmem pages between memory and a swap area.

    Whose such a page is: who maps it, else whose page tables have its swap entry; of shmem, the file that
    has it in the page's place. The key numbers these owners in the order in which they were met.
    """

    word = "SWAPCACHE_PAGE"
    band = Band.MAPPING
    line = (
        "SWAPCACHE_PAGE of:{kind} pid:{pid} offset:0x{offset:x} mapcount:{mapcount} refcount:{refcount}"
        " 0x{start:x} - 0x{end:x}{by_pid} path:{path}"
    )
    needs = Needs(globals=("swap_info",))
    before = ("ANON_PAGE", "SHMEM_PAGE", "FILE_PAGE")

    @cached_property
    def _bits(self) -> int:
        """PG_swapcache is PG_checked to file systems; with PG_swapbacked it can only be ours."""
        bits = [self.kernel.constant(name) for name in ("PG_swapcache", "PG_swapbacked")]
        return sum(1 << bit for bit in bits if bit is not None) if None not in bits else 0

    def domain(self, heads: Heads) -> Bools:
        bits = np.uint64(self._bits)
        both = (heads.flags & bits == bits) & (bits != 0)
        return np.asarray(untyped(heads) & both & (heads.mapping_bits <= ANON_BITS))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        # page.private until 6.6, then folio.swap at the same place (cfeed8ffe55b).
        entry = np.ascontiguousarray(heads.rows["private"][rows])
        kind, offset = split_entry(entry)
        owner = np.zeros(len(rows), _OWNER)
        owner["type"] = kind
        anon = heads.mapping_bits[rows] == ANON_BITS
        owner["mm"] = self._mm(heads.pfn[rows], heads.n[rows], entry)
        # What was only read ahead has no mapping yet, and may be either's.
        owner["inode"] = np.where(anon, 0, self._inode(entry))
        owner["mm"][~anon & (owner["mm"] < 0) & (owner["inode"] == 0)] = _NOBODY
        return Selection(rows, self._number(owner), {"offset": offset})

    @cached_property
    def _owners(self) -> list[tuple[int, int, int]]:
        return []

    def _number(self, owner: npt.NDArray[np.void]) -> U64:
        unique, inverse = np.unique(owner, return_inverse=True)
        numbers = []
        for one in unique.tolist():
            if one not in self._owners:
                self._owners.append(one)
            numbers.append(self._owners.index(one))
        return np.array(numbers, np.uint64)[inverse]

    @property
    def _memory(self) -> ProcessMemory:
        return self.kernel.memo(read_process_memory)

    def _mm(self, pfn: I64, n: I64, entry: U64) -> I64:
        """Number of the mm that maps the page, else of one that has its swap entry; -1 for none."""
        mapped = self._memory.first_mm(pfn, n)
        return np.where(mapped >= 0, mapped, self._mm_of_entry(entry))

    def _mm_of_entry(self, entry: U64) -> I64:
        swaps = self._memory.mappings.swaps
        swaps = swaps[~swaps["poisoned"]]
        start = swaps["type"].astype(np.uint64) << np.uint64(TYPE_SHIFT) | swaps["offset"]
        order = np.argsort(entry)
        low = np.searchsorted(entry[order], start)
        high = np.searchsorted(entry[order], start + swaps["n"])
        run, place = expand(low, high)
        none = np.iinfo(np.int64).max
        out = np.full(len(entry), none, np.int64)
        np.minimum.at(out, order[place], swaps["mm"][run].astype(np.int64))
        return np.where(out == none, -1, out)

    def _inode(self, entry: U64) -> U64:
        swaps = self.kernel.memo(read_shmem_swaps)
        if not len(swaps.entry):
            return np.zeros_like(entry)
        at = np.minimum(np.searchsorted(swaps.entry, entry), len(swaps.entry) - 1)
        return np.where(swaps.entry[at] == entry, swaps.inode[at], 0)

    def describe(self, keys: U64) -> pl.DataFrame:
        areas = self.kernel.memo(read_swap_areas)
        rows = [self._owners[key] for key in keys.tolist()]
        paths = [escape(areas[kind].path) if kind in areas else "" for kind, _, _ in rows]
        problems = [None if kind in areas else f"no swap area has the number {kind}" for kind, _, _ in rows]
        return pl.DataFrame(
            {
                "kind": [_kind(mm, inode) for _, mm, inode in rows],
                "pid": [self._pid(mm) for _, mm, _ in rows],
                "path": paths,
                "owner": [self._owner(mm, inode) for _, mm, inode in rows],
                "problem": problems,
            },
            schema={
                "kind": pl.String,
                "pid": pl.Int64,
                "path": pl.String,
                "owner": pl.String,
                "problem": pl.String,
            },
        )

    def _pid(self, mm: int) -> int:
        """The lowest process whose page tables have the page or its entry; -1 for none, and for shmem."""
        return int(self._memory.mms.lowest_tgid[mm]) if mm >= 0 else -1

    def _owner(self, mm: int, inode: int) -> str:
        if inode:
            name = self.kernel.memo(AddressSpaces).names(np.array([inode], np.uint64))[0]
            return escape(name) or f"inode 0x{inode:x}"
        if mm == _NOBODY:
            return "not used"
        return self._memory.name(mm) if mm >= 0 else "not mapped"


def _kind(mm: int, inode: int) -> str:
    return "shmem" if inode else "none" if mm == _NOBODY else "anon"
