# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owner lines of chosen pages of a section, in bulk: columns from claim, owner, folio and mappings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.folio import FolioCounts
from pageowner.kernel.path import Paths
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.layers.line import line_columns, render_lines
from pageowner.snapshot.scan import LayerRun, Scan, SectionScan

I64 = npt.NDArray[np.int64]
MAPPED_COLUMNS = frozenset({"start", "end", "by_pid"})


class OwnerLines:
    """Renders the owner line of blocks; one object serves a scan."""

    def __init__(self, scan: Scan, paths: bool = False) -> None:
        """With *paths*, lines of page-cache pages that carry no name end in the path of their file."""
        self._scan, self._with_paths = scan, paths
        self._folios = FolioCounts(scan.kernel)

    def of_blocks(self, section: SectionScan, blocks: pl.DataFrame) -> pl.Series:
        """The line of each block's first page, and how many of its pages have other owners.

        :param blocks: ``pfn``, ``n`` (pages) Int64, and ``tgid``, ``ts_nsec`` where recorded.
        """
        first = self.of_pages(section, blocks)
        return (first + mixed_suffix(section, blocks)).alias("owner")

    def of_pages(self, section: SectionScan, blocks: pl.DataFrame) -> pl.Series:
        """The line of the first page of each block; ``n`` pages are looked at for where it is mapped."""
        at = blocks.get_column("pfn").to_numpy() - section.pages.section.start
        layer = section.layer[at]
        mapcounts = self._folios.mapcounts(section.pages)
        order, parts = [np.empty(0, np.int64)], [pl.Series("line", [], pl.String)]
        for number in np.unique(layer).tolist():
            rows = np.flatnonzero(layer == number)
            run = self._scan.by_number(int(number))
            frame = self._columns(run, section, at[rows], blocks[rows], mapcounts)
            order.append(rows)
            lines = render_lines(run.layer.line, frame)
            parts.append(lines + self._paths(run, section, at[rows]) if self._with_paths else lines)
        back = np.argsort(np.concatenate(order), kind="stable")
        return pl.concat(parts).gather(back)

    def _paths(self, run: LayerRun, section: SectionScan, at: I64) -> pl.Series:
        """`` path:<path>`` for layers of files, "" for others and where no dentry is left."""
        owners = run.owners.frame
        if "inode" not in owners.columns or "name" in owners.columns:
            return pl.repeat("", len(at), dtype=pl.String, eager=True)
        rows, which = np.unique(section.owner[run.number][section.claim[at]], return_inverse=True)
        paths = self._scan.kernel.memo(Paths).of_inodes(owners.get_column("inode").to_numpy()[rows])
        texts = [f" path:{escape(path)}" if path else "" for path in paths]
        return pl.Series("path", texts, pl.String).gather(which)

    def _columns(
        self,
        run: LayerRun,
        section: SectionScan,
        at: I64,
        blocks: pl.DataFrame,
        mapcounts: npt.NDArray[np.int32],
    ) -> pl.DataFrame:
        """The columns that the layer's line names: the owner's, the claim's, then the engine's."""
        wanted = line_columns(run.layer.line)
        claims = section.claims[run.number]
        rows = section.claim[at]
        owners = run.owners.frame
        frame = owners.select(wanted & set(owners.columns))
        frame = frame[section.owner[run.number][rows]] if frame.width else pl.DataFrame()
        engine: dict[str, Any] = {
            name: column[rows] for name, column in claims.columns.items() if name in wanted
        }
        page = at + section.pages.section.start - claims.pfn[rows]
        engine |= {"pfn": at + section.pages.section.start, "page": page}
        if "first" in claims.columns:
            engine["index"] = claims.columns["first"][rows] + page.astype(np.uint64)
        head = section.pages.head[at]
        engine |= {"mapcount": mapcounts[head], "refcount": section.pages.heads.refcount[head]}
        missing = wanted - set(frame.columns) | {"pfn"}  # at least one column: it gives the number of rows
        if missing & MAPPED_COLUMNS:
            engine |= self._mapped(blocks)
        return pl.DataFrame(
            [*frame.get_columns(), *(pl.Series(k, v) for k, v in engine.items() if k in missing)]
        )

    def _mapped(self, blocks: pl.DataFrame) -> dict[str, Any]:
        memory: ProcessMemory = self._scan.kernel.memo(read_process_memory)
        found = memory.lowest(
            blocks.get_column("pfn").to_numpy(),
            blocks.get_column("n").to_numpy(),
            blocks.get_column("tgid").to_numpy() if "tgid" in blocks.columns else None,
            blocks.get_column("ts_nsec").to_numpy() if "ts_nsec" in blocks.columns else None,
        )
        pid = pl.DataFrame({"pid": found.by_pid})
        by_pid = pid.select(
            pl.when(pl.col("pid") != 0).then(pl.format(" pid {}", "pid")).otherwise(pl.lit(""))
        )
        return {"start": found.start, "end": found.end, "by_pid": by_pid.to_series()}


def owner_ids(section: SectionScan) -> I64:
    """One number per page that is equal for pages of the same layer and owner."""
    return section.layer.astype(np.int64) << np.int64(32) | (section.owner_rows().astype(np.int64) + 1)


def mixed_suffix(section: SectionScan, blocks: pl.DataFrame) -> pl.Series:
    """`` +<n> pages of <k> other owners`` for blocks that the first page's owner shares, else ""."""
    start, size = section.pages.section.start, section.pages.section.n
    at = blocks.get_column("pfn").to_numpy() - start
    n = np.minimum(blocks.get_column("n").to_numpy(), size - at)
    out = pl.Series("mixed", [""]).extend_constant("", max(len(at) - 1, 0)).head(len(at))
    if not (n > 1).any():
        return out
    ids = owner_ids(section)
    block = np.repeat(np.arange(len(at)), n)
    ends = np.cumsum(n)
    pages = np.arange(int(ends[-1])) - np.repeat(ends - n, n) + np.repeat(at, n)
    differs = ids[pages] != ids[at][block]
    if not differs.any():
        return out
    others = (
        pl.DataFrame({"block": block[differs], "id": ids[pages[differs]]})
        .group_by("block")
        .agg(pl.len().alias("pages"), pl.col("id").n_unique().alias("owners"))
        .select("block", pl.format(" +{} pages of {} other owners", "pages", "owners").alias("mixed"))
    )
    whole = pl.DataFrame({"block": np.arange(len(at))}).join(
        others, on="block", how="left", maintain_order="left"
    )
    return whole.get_column("mixed").fill_null("")
