# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owner lines of chosen pages of a section, in bulk: columns from claim, owner, folio and mappings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.folio import FolioCounts
from pageowner.kernel.mapping import expand
from pageowner.kernel.path import Paths
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.layers.line import line_columns, render_lines
from pageowner.ownertext.alike import text_of_each
from pageowner.snapshot.scan import LayerRun, Scan, SectionScan

I64 = npt.NDArray[np.int64]
MAPPED_COLUMNS = frozenset({"start", "end", "by_pid"})
MAPPED_BY = ("pfn", "n", "tgid", "ts_nsec")


class OwnerLines:
    """Renders the owner line of blocks; one object serves a scan."""

    def __init__(self, scan: Scan, paths: bool = False) -> None:
        """With *paths*, lines of page-cache pages that carry no name end in the path of their file."""
        self._scan, self._with_paths = scan, paths
        self._folios = FolioCounts(scan.kernel)

    def of_blocks(self, section: SectionScan, blocks: pl.DataFrame, end: str = "") -> pl.Series:
        """The line of each block's first page, and how many of its pages have other owners.

        :param blocks: ``pfn``, ``n`` (pages) Int64, and ``tgid``, ``ts_nsec`` where recorded.
        :param end: put behind each line, without braces.
        """
        return self._lines(section, blocks, mixed_suffix(section, blocks), end).alias("owner")

    def of_pages(self, section: SectionScan, blocks: pl.DataFrame) -> pl.Series:
        """The line of the first page of each block; ``n`` pages are looked at for where it is mapped."""
        return self._lines(section, blocks, None, "")

    def _lines(
        self, section: SectionScan, blocks: pl.DataFrame, mixed: pl.Series | None, end: str
    ) -> pl.Series:
        at = blocks.get_column("pfn").to_numpy() - section.pages.section.start
        layer = section.layer[at]
        mapcounts = self._folios.mapcounts(section.pages)
        order, parts = [np.empty(0, np.int64)], [pl.Series("line", [], pl.String)]
        for number in np.unique(layer).tolist():
            rows = np.flatnonzero(layer == number)
            run = self._scan.by_number(int(number))
            frame = self._columns(run, section, at[rows], blocks, rows, mapcounts)
            line = run.layer.line
            if self._with_paths:
                frame, line = frame.with_columns(self._paths(run, section, at[rows])), line + "{+path}"
            if mixed is not None:
                frame, line = frame.with_columns(mixed[rows]), line + "{+mixed}"
            order.append(rows)
            parts.append(render_lines(line + end, frame))
        back = np.empty(len(at), np.uint32)
        back[np.concatenate(order)] = np.arange(len(at), dtype=np.uint32)
        return parts[1] if len(parts) == 2 else pl.concat(parts)[pl.Series(back)]

    def _paths(self, run: LayerRun, section: SectionScan, at: I64) -> pl.Series:
        """`` path:<path>`` for layers of files, "" for others and where no dentry is left."""
        owners = run.owners.frame
        if "inode" not in owners.columns or "name" in owners.columns:
            return pl.repeat("", len(at), dtype=pl.String, eager=True).alias("+path")
        rows, which = np.unique(section.owner[run.number][section.claim[at]], return_inverse=True)
        paths = self._scan.kernel.memo(Paths).of_inodes(owners.get_column("inode").to_numpy()[rows])
        texts = [f" path:{escape(path)}" if path else "" for path in paths]
        return pl.Series("+path", texts, pl.String).gather(which)

    def _columns(
        self,
        run: LayerRun,
        section: SectionScan,
        at: I64,
        blocks: pl.DataFrame,
        chosen: I64,
        mapcounts: npt.NDArray[np.int32],
    ) -> pl.DataFrame:
        """The columns that the layer's line names, for the *chosen* of *blocks*, which begin at the pages
        *at* of the section: the owner's, the claim's, then the engine's."""
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
            engine |= self._mapped(
                blocks.select(name for name in MAPPED_BY if name in blocks.columns)[chosen]
            )
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
        by_pid = text_of_each(pl.Series("by_pid", found.by_pid), _by_pid)
        return {"start": found.start, "end": found.end, "by_pid": by_pid}


def _by_pid(pids: pl.Series) -> pl.Series:
    text = pl.when(pl.col("by_pid") != 0).then(pl.format(" pid {}", "by_pid")).otherwise(pl.lit(""))
    return pids.to_frame().select(text).to_series()


def owner_ids(section: SectionScan) -> I64:
    """One number per page that is equal for pages of the same layer and owner."""
    return section.layer.astype(np.int64) << np.int64(32) | (section.owner_rows().astype(np.int64) + 1)


def mixed_suffix(section: SectionScan, blocks: pl.DataFrame) -> pl.Series | None:
    """`` +<n> pages of <k> other owners`` for blocks that the first page's owner shares, else "".

    :returns: series "+mixed"; None if there is no such block.
    """
    start, size = section.pages.section.start, section.pages.section.n
    at = blocks.get_column("pfn").to_numpy() - start
    n = np.minimum(blocks.get_column("n").to_numpy(), size - at)
    large = np.flatnonzero(n > 1)
    if not len(large):
        return None
    ids = owner_ids(section)
    block, pages = expand(at[large], (at + n)[large])
    differs = ids[pages] != ids[at[large]][block]
    if not differs.any():
        return None
    others = (
        pl.DataFrame({"block": large[block[differs]], "id": ids[pages[differs]]})
        .group_by("block")
        .agg(pl.len().alias("pages"), pl.col("id").n_unique().alias("owners"))
        .select("block", pl.format(" +{} pages of {} other owners", "pages", "owners").alias("+mixed"))
    )
    whole = pl.DataFrame({"block": np.arange(len(at))}).join(
        others, on="block", how="left", maintain_order="left"
    )
    return whole.get_column("+mixed").fill_null("")
