# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory that changes while it is read: which pages were the same before and after their owners were walked.

A page counts as changed when its identity did: free or not, its type, the unit that it belongs to,
whose it is. Reference counts, LRU links and flags that come and go are not identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel import page_type
from pageowner.kernel.memmap import PageLayout
from pageowner.kernel.sections import Section
from pageowner.kernel.target import Kernel

Bools = npt.NDArray[np.bool_]
U64 = npt.NDArray[np.uint64]
Digests = npt.NDArray[np.uint16]

REASON = "changed while being read"
OWN = "pageowner itself, taken or given back while reading"
_FLAGS = ("PG_head", "PG_slab", "PG_reserved", "PG_swapbacked", "PG_hwpoison")
# Odd 64-bit constants: each word gets a multiplier of its own.
_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xFF51AFD7ED558CCD)


class Stability:
    """The digests of the struct pages of *sections* as they were when this was made: 2 bytes per page."""

    def __init__(self, kernel: Kernel, layout: PageLayout, sections: list[Section]) -> None:
        self._kernel, self._layout = kernel, layout
        flags = [kernel.constant(name) for name in _FLAGS]
        self._mask = np.uint64(sum(1 << bit for bit in flags if bit is not None and bit < 64))
        self._before = {section.nr: self.read(section) for section in sections}

    def read(self, section: Section) -> Digests:
        """The digests of *section* as it is now."""
        size = self._layout.sections.page_size
        data, _ = self._kernel.read_pieces(section.memmap, section.n * size)
        return self.digest(np.frombuffer(data, self._layout.dtype))

    def changed(self, section: Section, rows: npt.NDArray[Any]) -> Bools:
        """Which pages of *section* are not what they were before the walks, or no longer what *rows* say."""
        told = self.digest(rows)
        before = self._before.get(section.nr)
        out = told != self.read(section)
        if before is not None:
            out |= told != before
        return np.asarray(out)

    def digest(self, rows: npt.NDArray[Any]) -> Digests:
        """uint16 per struct page, of the words that make its identity."""
        kind = self._kind(rows)
        unreferenced = np.ascontiguousarray(rows["refcount"]).view(np.int32) == 0
        # Pages of a type may have no references, either: slabs since 6.17, tails always.
        free = unreferenced & np.isin(kind, (page_type.NONE, page_type.BUDDY))
        word1 = np.ascontiguousarray(rows["word1"])
        tail = (word1 & np.uint64(1)) != 0
        # Free pages are linked and merged all the time; slabs keep lists and counters where others have
        # mapping and index.
        owned = (kind == page_type.NONE) & ~free & ~tail
        words = (
            np.where(free, 0, np.ascontiguousarray(rows["flags"]) & self._mask).astype(np.uint64),
            np.where(tail, word1, np.uint64(0)),
            np.where(owned, rows["mapping"], np.uint64(0)),
            np.where(kind == page_type.SLAB, rows["slab_cache"], np.uint64(0)),
            np.where(free, np.uint64(0), kind.astype(np.uint64) + np.uint64(1)),
        )
        mixed = np.zeros(len(rows), np.uint64)
        for word, factor in zip(words, _MIX, strict=True):
            mixed = (mixed ^ word) * np.uint64(factor)
            mixed ^= mixed >> np.uint64(29)
        return (mixed >> np.uint64(48)).astype(np.uint16)

    def _kind(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        kind = self._layout.types.codes(np.ascontiguousarray(rows["mapcount"]).view(np.uint32))
        if self._layout.slab_flag is not None:
            kind[(rows["flags"] & np.uint64(self._layout.slab_flag)) != 0] = page_type.SLAB
        return kind
