# SPDX-License-Identifier: LGPL-2.1-or-later
"""``report``: the records as text, section by section, in the form that DESIGN calls its text contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import polars as pl

from pageowner.rawtext import lines_bytes

# Records that are text in memory at a time: some 3 MB.
_AT_ONCE = 4096
_HEAD = pl.concat_str([pl.col("header"), pl.lit("\n"), "owner", "mapped", "pfnline"])


def write_report(tables: Iterable[pl.DataFrame], out: BinaryIO) -> None:
    """Write the records of *tables* (:func:`pageowner.snapshot.report.report_tables`) to *out*."""
    for table in tables:
        for part in table.iter_slices(_AT_ONCE):
            out.write(report_bytes(part))


def report_bytes(table: pl.DataFrame) -> bytes:
    """The records of one of those tables: each ends in an empty line."""
    # Most sections have no record with a tail, and stacks are shared strings until they are written.
    tails = not (table.get_column("tail") == "").all()
    rest = pl.concat_str("frames", "tail") if tails else pl.col("frames")
    return lines_bytes(table.select(_HEAD.alias("head"), rest.alias("rest")))
