# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hexadecimal text of whole columns, which polars cannot format by itself."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl


def hex_text(values: npt.NDArray[np.integer[Any]] | pl.Series) -> pl.Series:
    """Each value as lower-case hexadecimal, as ``%x`` prints it: no ``0x``, no leading zeros, ``0`` for zero.

    :param values: integers, shape (n,); negative ones are taken as 64-bit two's complement.
    :returns: String series of length n, called "hex".
    """
    array = values.to_numpy() if isinstance(values, pl.Series) else np.asarray(values)
    return _text(array.astype(np.uint64)).alias("hex")


def _text(words: npt.NDArray[np.uint64]) -> pl.Series:
    """The lower 16 bits by a table; what is above, which neighbours mostly share, once per run."""
    high = words >> np.uint64(16)
    index = words.astype(np.uint16).astype(np.uint32)
    if not high.any():
        return _digits()[pl.Series(index)]
    begins = np.append(True, high[1:] != high[:-1])
    above = high[begins]
    text = _text(above)
    if not above.all():
        text = pl.select(pl.when(pl.Series(above != 0)).then(text).otherwise(pl.lit(""))).to_series()
    upper = text[pl.Series(np.cumsum(begins, dtype=np.uint32) - np.uint32(1))]
    index[high != 0] += np.uint32(_PADDED)
    parts = pl.DataFrame({"upper": upper, "lower": _digits()[pl.Series(index)]})
    return parts.select(pl.concat_str(["upper", "lower"])).to_series()


_PADDED = 1 << 16


@cache
def _digits() -> pl.Series:
    """Text of 0 … 0xffff; from :data:`_PADDED` on the same, padded to four digits."""
    return pl.Series([f"{i:x}" for i in range(_PADDED)] + [f"{i:04x}" for i in range(_PADDED)])
