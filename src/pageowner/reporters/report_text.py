# SPDX-License-Identifier: LGPL-2.1-or-later
"""``report``: the records as text, section by section, in the form that DESIGN calls its text contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import polars as pl

from pageowner.ownertext.alike import alike
from pageowner.rawtext import uncarried

# Records whose heads are made at a time, and those written at a time: some 600 KB, which caches hold.
_AT_ONCE = 8192
_WRITTEN = 1024
_NL = pl.lit("\n")
_HEAD = pl.concat_str([pl.col("header"), _NL, "owner", "mapped", "pfnline", _NL], ignore_nulls=True)
_REST = pl.concat_str(["frames", "tail", _NL], ignore_nulls=True)


def write_report(tables: Iterable[pl.DataFrame], out: BinaryIO) -> None:
    """Write the records of *tables* (:func:`pageowner.snapshot.report.report_tables`) to *out*."""
    for table in tables:
        for part in table.iter_slices(_AT_ONCE):
            for block in _blocks(part):
                out.write(block)


def report_bytes(table: pl.DataFrame) -> bytes:
    """The records of one of those tables: each ends in an empty line."""
    return b"".join(_blocks(table))


def _blocks(table: pl.DataFrame) -> Iterator[bytes]:
    heads = table.select(_HEAD.cast(pl.Binary)).to_series()
    # Most of a record is its stack, which neighbours share: only join() copies it.
    runs = alike(table, "frames", "tail")
    rests = runs.first.select(_REST.cast(pl.Binary)).to_series()
    pieces: list[bytes] = [b""] * (2 * len(heads))
    pieces[0::2] = heads.to_list()
    pieces[1::2] = runs.shared(rests.to_list())
    for start in range(0, len(pieces), 2 * _WRITTEN):
        yield uncarried(b"".join(pieces[start : start + 2 * _WRITTEN]))
