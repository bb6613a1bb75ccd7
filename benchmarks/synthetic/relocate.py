# SPDX-License-Identifier: LGPL-2.1-or-later
"""Move the pointers in bytes of the core as far as a slot is away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.synthetic.plan import VMALLOC_STEP, Plan
from benchmarks.synthetic.seed import Seed

U64 = npt.NDArray[np.uint64]
_VMALLOC_USED = 32 << 30
_PFN_BITS = ((1 << 52) - 1) & ~0xFFF


class Relocator:
    """Changes words in place; *slot* is how many slots they have moved."""

    def __init__(self, seed: Seed, plan: Plan, fragmented: bool = False) -> None:
        kernel = seed.kernel
        self._cloned, self._fragmented = seed.cloned, fragmented
        self._linear, self._vmemmap = np.uint64(kernel.page_offset), np.uint64(seed.sections.vmemmap)
        self._vmalloc = np.uint64(int(kernel.object("vmalloc_base")))
        self._ram = np.uint64(seed.pages << 12)
        self._structs = np.uint64(seed.pages * seed.sections.page_size)
        self._shift, self._struct_shift = plan.slot_pages << 12, plan.slot_pages * seed.sections.page_size

    def words(self, words: U64, slot: int) -> None:
        """Pointers into the direct map, the memmap and vmalloc space."""
        candidate = np.flatnonzero(words >= np.uint64(1 << 63))
        value = words[candidate]
        offset = value - self._linear
        linear = np.flatnonzero(offset < self._ram)
        moved = linear[self._cloned[(offset[linear] >> np.uint64(12)).astype(np.int64)]]
        value[moved] += np.uint64(slot * self._shift)
        value[offset - (self._vmemmap - self._linear) < self._structs] += np.uint64(slot * self._struct_shift)
        area = offset - (self._vmalloc - self._linear) < np.uint64(_VMALLOC_USED)
        value[area] += np.uint64(slot * VMALLOC_STEP)
        words[candidate] = value

    def entries(self, rows: U64, slot: int) -> None:
        """Entries of page tables, uint64[k, 512]."""
        pfn = ((rows & np.uint64(_PFN_BITS)) >> np.uint64(12)).astype(np.int64)
        np.minimum(pfn, len(self._cloned) - 1, out=pfn)
        present = (rows & np.uint64(1)) != 0
        rows += (self._cloned[pfn] & present) * np.uint64(slot * self._shift)
