# SPDX-License-Identifier: LGPL-2.1-or-later
"""Page cache that the kernel can give back whenever it needs memory: it is in use, but it is no leak."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pageowner.kernel.buffers import held_buffers
from pageowner.kernel.held import HeldFolios
from pageowner.kernel.page_flags import flag_mask
from pageowner.snapshot.scan import Scan, SectionScan

Bools = npt.NDArray[np.bool_]
_WORDS = ("FILE_PAGE", "BDEV_PAGE")


class Reclaimable:
    """Tells these pages of a scan; one object serves a scan."""

    def __init__(self, scan: Scan) -> None:
        self._kernel = scan.kernel
        self._layers = [run.number for run in scan.runs if run.word in _WORDS]
        self._buffered = [run.number for run in scan.runs if run.word == "BDEV_PAGE"]
        self._unevictable = np.uint64(flag_mask(scan.kernel, "PG_unevictable"))

    def of(self, section: SectionScan) -> Bools:
        """Pages of files and block devices that nobody maps, holds or locks; dirty ones can be written.

        bool[n]. Pages of tmpfs are none: they have nowhere to go but to swap.
        """
        mine = np.isin(section.layer, self._layers)
        if not mine.any():
            return mine
        pages, heads = section.pages, section.pages.heads
        held = self._kernel.memo(HeldFolios).of(pages)
        idle = (held.mapcount <= 0) & (held.extra == 0) & ((heads.flags & self._unevictable) == 0)
        mine &= idle[pages.head]
        return mine & ~self._busy(section, mine)

    def _busy(self, section: SectionScan, pages: Bools) -> Bools:
        """Those of *pages* that lie in folios of block devices with a buffer that somebody holds."""
        heads, head = section.pages.heads, section.pages.head
        rows = np.unique(head[pages & np.isin(section.layer, self._buffered)])
        first = np.ascontiguousarray(heads.rows["private"][rows])
        busy = np.zeros(len(heads) + 1, np.bool_)
        busy[rows] = held_buffers(self._kernel, first)
        return busy[head]
