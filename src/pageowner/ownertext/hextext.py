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
    words = array.astype(np.uint64)
    used = (int(words.max()).bit_length() + 15) // 16 if len(words) else 0
    if used <= 1:
        return _digits(False).gather(words.astype(np.uint32)).alias("hex")
    four = _digits(True)
    chunks = [
        four.gather(((words >> np.uint64(16 * i)) & np.uint64(0xFFFF)).astype(np.uint32)).alias(str(i))
        for i in reversed(range(used))
    ]
    text = pl.concat_str([c.name for c in chunks]).str.strip_chars_start("0")
    whole = pl.DataFrame(chunks).select(pl.when(text == "").then(pl.lit("0")).otherwise(text).alias("hex"))
    return whole.to_series()


@cache
def _digits(padded: bool) -> pl.Series:
    """Text of 0 … 0xffff, of four digits if *padded*."""
    return pl.Series([f"{i:04x}" if padded else f"{i:x}" for i in range(1 << 16)])
