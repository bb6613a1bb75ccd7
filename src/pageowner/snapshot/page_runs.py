# SPDX-License-Identifier: LGPL-2.1-or-later
"""All pages as runs of one owner: the smallest table that still says whose every page is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.snapshot.claims import UNCLAIMED
from pageowner.snapshot.lines import owner_ids
from pageowner.snapshot.scan import Scan, SectionScan

SCHEMA = {"pfn": pl.Int64, "n": pl.Int64, "word": pl.String, "owner": pl.String, "key": pl.UInt64}


def page_runs(scan: Scan, section: SectionScan) -> pl.DataFrame:
    """The section's pages as runs of neighbours with the same owner, by PFN; holes are left out.

    :returns: ``pfn`` and ``n`` (pages), ``word``, ``owner`` and ``key`` as in the owners table.
    """
    ids = np.where(section.layer != UNCLAIMED, owner_ids(section), -1)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(ids)) + 1))
    lengths = np.diff(np.append(starts, len(ids)))
    kept = ids[starts] >= 0
    starts, lengths = starts[kept], lengths[kept]
    frame = pl.DataFrame(
        {
            "pfn": starts + section.pages.section.start,
            "n": lengths,
            "layer": section.layer[starts].astype(np.int32),
            "row": section.owner_rows()[starts],
        }
    )
    names = pl.concat([_names(scan, number, rows) for number, rows in section.owner.items()] or [_NO_NAMES])
    joined = frame.join(names, on=["layer", "row"], how="left", maintain_order="left")
    return joined.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


_NAME_SCHEMA = {"layer": pl.Int32, "row": pl.Int32, "word": pl.String, "owner": pl.String, "key": pl.UInt64}
_NO_NAMES = pl.DataFrame(schema=_NAME_SCHEMA)


def _names(scan: Scan, number: int, rows: npt.NDArray[np.int32]) -> pl.DataFrame:
    """Of the owners *rows* (-1: none) of layer *number*."""
    run, unique = scan.by_number(number), np.unique(rows[rows >= 0])
    if not len(unique):
        return _NO_NAMES
    return run.owners.frame.select("owner", "key")[unique].with_columns(
        pl.lit(number, pl.Int32).alias("layer"),
        pl.Series("row", unique, pl.Int32),
        pl.lit(run.word).alias("word"),
    ).select(_NAME_SCHEMA.keys())
