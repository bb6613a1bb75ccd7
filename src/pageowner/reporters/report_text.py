# SPDX-License-Identifier: LGPL-2.1-or-later
"""``report``: the records as text, section by section, in the form that DESIGN calls its text contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import polars as pl

from pageowner.ownertext.alike import alike
from pageowner.rawtext import uncarried

# Records that are text in memory at a time: some 6 MB.
_AT_ONCE = 8192
_NL = pl.lit("\n")
_HEAD = pl.concat_str([pl.col("header"), _NL, "owner", "mapped", "pfnline", _NL], ignore_nulls=True)
_REST = pl.concat_str(["frames", "tail", _NL], ignore_nulls=True)


def write_report(tables: Iterable[pl.DataFrame], out: BinaryIO) -> None:
    """Write the records of *tables* (:func:`pageowner.snapshot.report.report_tables`) to *out*."""
    for table in tables:
        for part in table.iter_slices(_AT_ONCE):
            out.write(report_bytes(part))


def report_bytes(table: pl.DataFrame) -> bytes:
    """The records of one of those tables: each ends in an empty line."""
    heads = table.select(_HEAD.cast(pl.Binary)).to_series()
    # Most of a record is its stack, which neighbours share: only join() copies it.
    runs = alike(table, "frames", "tail")
    rests = runs.first.select(_REST.cast(pl.Binary)).to_series()
    pieces: list[bytes] = [b""] * (2 * len(heads))
    pieces[0::2] = heads.to_list()
    pieces[1::2] = runs.shared(rests.to_list())
    return uncarried(b"".join(pieces))
