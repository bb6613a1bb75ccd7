# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rows of a table by their key, asked for again and again: a join would look at all rows every time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl


class KeyedRows:
    """The rows of *frame* by its column *key* (uint64); of rows with one key the first counts."""

    def __init__(self, frame: pl.DataFrame, key: str) -> None:
        self._keys, first = np.unique(frame.get_column(key).to_numpy(), return_index=True)
        self._frame = frame[first]

    def of(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        """One row per key, in order; all null for a key that is not there."""
        at = np.searchsorted(self._keys, keys)
        known = (at < len(self._keys)) & (np.append(self._keys, np.uint64(0))[at] == keys)
        rows = [row if there else None for row, there in zip(at.tolist(), known.tolist(), strict=True)]
        return self._frame.select(pl.all().gather(pl.Series(rows, dtype=pl.UInt32)))
