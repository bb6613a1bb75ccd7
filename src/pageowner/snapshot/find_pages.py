# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the pages of one owner are: from a row of the tables back to page frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.analyses.filters import Filter
from pageowner.kernel.page_owner import Records
from pageowner.kernel.record_table import comm_text
from pageowner.snapshot.chosen import Chosen
from pageowner.snapshot.keys import NOTHING
from pageowner.snapshot.scan import LayerRun, Scan, SectionScan
from pageowner.snapshot.stack_names import StackNames

MOST = 1000
"""Rows that are kept of each allocation stack, the lowest page frames."""

FOUND_SCHEMA: dict[str, Any] = {
    "pfn": pl.Int64,
    "pages": pl.Int64,
    "order": pl.UInt16,
    "pid": pl.Int32,
    "comm": pl.String,
    "ts_nsec": pl.UInt64,
}
_SCHEMA = {**FOUND_SCHEMA, "handle": pl.UInt32}
_RECORDED = ("order", "pid", "comm", "ts_nsec")


def find_pages(
    scan: Scan, word: str, owner: str, stack: int | None, wanted: Filter | None = None, most: int = MOST
) -> pl.DataFrame:
    """The pages of one owner, a row per folio (or what of it is this owner's), by PFN.

    :param stack: key of the stack that allocated them; 0: not recorded; None: of all stacks.
    :param wanted: of these pages only.
    :returns: ``pfn`` (the first), ``pages``, and of its allocation ``order``, ``pid``, ``comm`` (carried) and
        ``ts_nsec``, null where not recorded: *most* rows of each stack's handle at most.
    """
    parts = [pl.DataFrame(schema=_SCHEMA)]
    runs = [run for run in scan.all_runs if run.word == word]
    for section in Chosen(scan, wanted).sections() if wanted else scan.run():
        for run in runs:
            at = _of_owner(section, run, owner)
            if len(at):
                parts.append(_rows(section, at, most))
                parts = [_few(pl.concat(parts), most)]
    found = pl.concat(parts)
    if stack is not None:
        stacks = scan.kernel.memo(StackNames).table(found.get_column("handle").unique())
        mine = stacks.filter(pl.col("stack") == stack).get_column("handle").to_list()
        found = found.filter(pl.col("handle").is_in([0] if stack == NOTHING else mine))
    return found.drop("handle").sort("pfn")


def _of_owner(section: SectionScan, run: LayerRun, owner: str) -> npt.NDArray[np.int64]:
    """Which of the section's pages are this owner's."""
    frame = run.owners.frame
    if run.number not in section.owner or "owner" not in frame.columns:
        return np.empty(0, np.int64)
    rows = np.flatnonzero((frame.get_column("owner") == owner).to_numpy())
    return np.flatnonzero((section.layer == run.number) & np.isin(section.owner_rows(), rows))


def _rows(section: SectionScan, at: npt.NDArray[np.int64], most: int) -> pl.DataFrame:
    """A row per folio and stack of the pages *at*."""
    records, start = section.records, section.pages.section.start
    handle = np.zeros(len(at), np.uint32)
    if records is not None:
        handle = np.where(records.allocated[at], records.rows["handle"][at], 0).astype(np.uint32)
    frame = pl.DataFrame({"head": section.pages.head[at], "handle": handle, "pfn": at + start})
    summed = frame.group_by("head", "handle").agg(pl.col("pfn").min(), pl.len().cast(pl.Int64).alias("pages"))
    few = _few(summed, most)
    columns = _recorded(records, few.get_column("pfn").to_numpy() - start)
    return few.with_columns(columns).select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())


def _recorded(records: Records | None, at: npt.NDArray[np.int64]) -> list[pl.Series | pl.Expr]:
    """What the records say of the pages *at*; null where they do not."""
    out: list[pl.Series | pl.Expr] = []
    allocated = None if records is None else pl.Series(records.allocated[at])
    for name in _RECORDED:
        column = None if records is None else records.column(name)
        if column is None or allocated is None:
            out.append(pl.lit(None, FOUND_SCHEMA[name]).alias(name))
            continue
        values = comm_text(column[at]) if name == "comm" else pl.Series(column[at])
        out.append(pl.when(allocated).then(values).alias(name))
    return out


def _few(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    """The first *most* rows of each handle."""
    return frame.sort("pfn").group_by("handle", maintain_order=True).head(most).select(frame.columns)
