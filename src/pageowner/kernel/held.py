# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folios that somebody holds beyond what keeps any folio in memory: they can be neither moved nor freed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.kernel import page_type
from pageowner.kernel.folio import FolioCounts
from pageowner.kernel.lru_batches import read_lru_batches
from pageowner.kernel.memmap import Heads, Pages
from pageowner.kernel.references import References
from pageowner.kernel.target import Kernel

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# GUP_PIN_COUNTING_BIAS (include/linux/mm.h): what FOLL_PIN adds to the count of a small folio.
_PIN = 1 << 10


@dataclass(frozen=True)
class Held:
    """One row per row of the heads. ``mapcount``: ``folio_mapcount()``; ``extra`` int64: references that
    neither mappings, caches nor LRU batches explain; ``pinned``: some are pins (FOLL_PIN): I/O under way,
    buffers that io_uring or a device keeps registered. Only meaningful for plain and hugetlb folios."""

    mapcount: npt.NDArray[np.int32]
    extra: I64
    pinned: Bools


class HeldFolios:
    """Looks at sections of one kernel. Use it through ``kernel.memo(HeldFolios)``."""

    def __init__(self, kernel: Kernel) -> None:
        self._folios = FolioCounts(kernel)
        self._references = kernel.memo(References)
        self._batched = read_lru_batches(kernel)

    def of(self, pages: Pages) -> Held:
        """How the units of *pages* are held."""
        heads, mapcount = pages.heads, self._folios.mapcounts(pages)
        known = self._references.of(heads, mapcount).total + self._in_batches(heads)
        extra = np.maximum(heads.refcount.astype(np.int64) - known, 0)
        # a08c7193e4f1 (6.7): hugetlb in the page cache is referenced per page, like any folio; before, once.
        per_page = (heads.type == page_type.HUGETLB) & (heads.mapping_bits == 0) & (extra >= heads.n - 1)
        extra = np.where(per_page & (heads.mapping != 0), extra - heads.n + 1, extra)
        return Held(mapcount, extra, (extra > 0) & _pinned(heads, extra))

    def _in_batches(self, heads: Heads) -> I64:
        low = np.searchsorted(self._batched, heads.pfn)
        return (np.searchsorted(self._batched, heads.pfn, side="right") - low).astype(np.int64)


def _pinned(heads: Heads, extra: I64) -> Bools:
    """``folio_maybe_dma_pinned()``: large folios count pins apart, in small ones a pin is many references.

    Until 5.15 the count of large ones lies in their third page, which is not read: they are not told apart.
    """
    if "pincount" not in (heads.second.dtype.names or ()):
        return ~heads.compound & (extra >= _PIN)
    return np.where(heads.compound, heads.second["pincount"] > 0, extra >= _PIN)
