# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which blocks of a section a report has: the kernel's records or, without page_owner, the units in use."""

from __future__ import annotations

import numpy as np
import polars as pl

from pageowner.kernel.page_owner import PageOwner
from pageowner.kernel.pageblock import PageBlocks, read_pageblocks
from pageowner.kernel.record_table import record_table
from pageowner.layers.base import Band
from pageowner.snapshot.scan import Scan, SectionScan


class Reported:
    """Picks the blocks of sections; one object serves a scan."""

    def __init__(self, scan: Scan, freed: bool = False) -> None:
        """:param freed: all whose last free is recorded, instead of those that are allocated."""
        self._scan, self._freed = scan, freed
        self.blocks: PageBlocks = read_pageblocks(scan.kernel, scan.sections)
        self.recorded = isinstance(scan.page_owner, PageOwner)

    def of(self, section: SectionScan) -> pl.DataFrame:
        """The blocks that begin in *section*, by PFN.

        :returns: ``pfn``, ``n`` (pages), and the columns of
            :data:`pageowner.kernel.record_table.RECORD_SCHEMA`; without page_owner only ``flags`` and
            ``block_type`` of these.
        """
        page_owner = self._scan.page_owner
        if not isinstance(page_owner, PageOwner):
            return self._unrecorded(section)
        if section.records is None:
            return pl.DataFrame(schema={"pfn": pl.Int64, "n": pl.Int64})
        pick = page_owner.freed if self._freed else page_owner.visible
        at = pick(section.records, section.pages)
        block_types = self.blocks.page_types(section.pages.section)
        return record_table(section.records, section.pages, block_types, at).with_columns(_block_pages())

    def _unrecorded(self, section: SectionScan) -> pl.DataFrame:
        """Without page_owner the blocks are the units in use: folios and single pages."""
        heads, start = section.pages.heads, section.pages.section.start
        free = [run.number for run in self._scan.runs if run.layer.band == Band.FREE]
        local = np.flatnonzero(heads.pfn >= start)
        at = heads.pfn[local] - start
        reserved = (heads.flags[local] & np.uint64(self._reserved_bit())) != 0
        used = ~np.isin(section.layer[at], free) & ~reserved
        return pl.DataFrame(
            {
                "pfn": heads.pfn[local][used],
                "n": heads.n[local][used],
                "flags": section.pages.flags[at[used]],
                "block_type": self.blocks.page_types(section.pages.section)[at[used]],
            }
        )

    def _reserved_bit(self) -> int:
        bit = self._scan.kernel.constant("PG_reserved")
        return 0 if bit is None else 1 << bit


def _block_pages() -> pl.Expr:
    """2^order; an order beyond any allocator's is damage and counts as one page."""
    order = pl.when(pl.col("order") <= 18).then(pl.col("order")).otherwise(0)
    return pl.lit(2, pl.Int64).pow(order.cast(pl.Int64)).cast(pl.Int64).alias("n")
