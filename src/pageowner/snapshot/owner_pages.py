# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages per owner, added up while sections stream by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.snapshot.scan import Scan, SectionScan

_SCHEMA = {"word": pl.String, "owner": pl.String, "key": pl.UInt64, "pages": pl.Int64}


class OwnerPages:
    """How many pages each owner has, in pages of 4 KiB."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._counts: dict[int, npt.NDArray[np.int64]] = {}

    def add(self, section: SectionScan) -> None:
        """Count the pages of one section."""
        rows = section.owner_rows()
        for number in section.owner:
            mine = rows[section.layer == number]
            counts = np.bincount(mine, minlength=self._scan.by_number(number).owners.frame.height)
            self._counts[number] = _sum(self._counts.get(number), counts)

    def frame(self) -> pl.DataFrame:
        """One row per owner that has pages: ``word``, ``owner``, ``key``, ``pages``; most pages first."""
        parts = [pl.DataFrame(schema=_SCHEMA)]
        for number, counts in self._counts.items():
            run = self._scan.by_number(number)
            owners = run.owners.frame.select("owner", "key").head(len(counts))
            parts.append(
                owners.with_columns(pl.lit(run.word).alias("word"), pl.Series("pages", counts, pl.Int64))
                .select(_SCHEMA.keys())
                .filter(pl.col("pages") > 0)
            )
        return pl.concat(parts).sort("pages", "word", "owner", descending=[True, False, False])


def _sum(a: npt.NDArray[np.int64] | None, b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if a is None:
        return b
    out = np.zeros(max(len(a), len(b)), np.int64)
    out[: len(a)] += a
    out[: len(b)] += b
    return out
