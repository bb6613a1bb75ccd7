# SPDX-License-Identifier: LGPL-2.1-or-later
"""One scan of a capture, kept for many tests: the word and the owner of every page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.analyses.balance import balance
from pageowner.kernel.counters import read_counters
from pageowner.kernel.page_owner import NoRecords
from pageowner.kernel.target import Kernel
from pageowner.snapshot.scan import Scan, open_scan
from pageowner.snapshot.tally import Tally
from pageowner.sources import open_core


@dataclass(frozen=True)
class Painted:
    """``pages``: ``pfn``, ``word``, ``owner``, ``recorded`` (its record says allocated), one row per page."""

    kernel: Kernel
    scan: Scan
    pages: pl.DataFrame
    counters: dict[str, int]
    terms: dict[str, int]

    @property
    def records(self) -> bool:
        """Whether page_owner was on."""
        return "recorded" in self.terms

    @property
    def balance(self) -> pl.DataFrame:
        return balance(self.counters, self.terms)

    def words(self, first: int, last: int) -> set[str]:
        """The words of pages *first* … *last*."""
        part = self.pages.filter(pl.col("pfn").is_between(first, last))
        return set(part["word"].unique())

    def of(self, word: str) -> pl.DataFrame:
        return self.pages.filter(pl.col("word") == word)


def paint(core: Path, records: bool = True) -> Painted:
    """Scan *core* once; without *records* as if page_owner were off."""
    kernel = open_core(core)
    scan = open_scan(kernel)
    if not records:
        scan.page_owner = NoRecords("left out")
    tally, parts = Tally(scan), []
    for section in scan.run():
        tally.add(section)
        rows = section.owner_rows()
        found = section.records
        recorded = found.allocated if found is not None else np.zeros(len(rows), np.bool_)
        numbers = np.unique(section.layer[section.pages.valid]).tolist()
        parts += [_part(scan, n, section.pages.pfn, section.layer == n, rows, recorded) for n in numbers]
    pages = pl.concat(parts).sort("pfn")
    return Painted(kernel, scan, pages, read_counters(kernel), tally.terms())


def _part(
    scan: Scan,
    number: int,
    pfn: npt.NDArray[np.int64],
    mine: npt.NDArray[np.bool_],
    rows: npt.NDArray[np.int32],
    recorded: npt.NDArray[np.bool_],
) -> pl.DataFrame:
    run = scan.by_number(number)
    owner = run.owners.frame["owner"].gather(rows[mine].tolist())
    data = {"pfn": pfn[mine], "owner": owner, "recorded": recorded[mine]}
    return pl.DataFrame(data).with_columns(pl.lit(run.word).alias("word"))
