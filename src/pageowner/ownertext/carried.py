# SPDX-License-Identifier: LGPL-2.1-or-later
"""Binary columns as carried strings (:mod:`pageowner.rawtext`)."""

from __future__ import annotations

import polars as pl

from pageowner.rawtext import carry

_CARRIERS = b"\xf4\x8f"  # how the UTF-8 of each character that carries a byte begins


def carried(pieces: pl.Series) -> pl.Series:
    """String series of the same length; only the rows that are no plain UTF-8 cost a Python call."""
    texts = pieces.cast(pl.String, strict=False)
    odd = (texts.is_null() & pieces.is_not_null()) | pieces.bin.contains(_CARRIERS)
    rows = odd.fill_null(False).arg_true()
    if not len(rows):
        return texts
    return texts.scatter(rows, [carry(raw) for raw in pieces.gather(rows).to_list()])
