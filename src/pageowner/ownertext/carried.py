# SPDX-License-Identifier: LGPL-2.1-or-later
"""Binary columns as carried strings (:mod:`pageowner.rawtext`)."""

from __future__ import annotations

import polars as pl
from polars.exceptions import ComputeError

from pageowner.rawtext import carry

_CARRIERS = b"\xf4\x8f"  # how the UTF-8 of each character that carries a byte begins


def carried(pieces: pl.Series) -> pl.Series:
    """String series of the same length; only where some row is no plain UTF-8 is there a call per row."""
    try:
        texts = pieces.cast(pl.String)
    except ComputeError:  # invalid UTF-8
        texts = None
    if texts is None or pieces.bin.contains(_CARRIERS).any():
        return pl.Series(pieces.name, [carry(raw) for raw in pieces.to_list()], dtype=pl.String)
    return texts
