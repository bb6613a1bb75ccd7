# SPDX-License-Identifier: LGPL-2.1-or-later
"""The owners of one layer: each distinct key described once, whatever the number of its pages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.key_index import KeyIndex
from pageowner.kernel.runs import distinct
from pageowner.layers.base import Layer

U64 = npt.NDArray[np.uint64]
_MANY_CHUNKS = 64


class Owners:
    """Keys met so far, sorted, with the row of :attr:`frame` that describes each."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._index = KeyIndex()
        self._whole = pl.DataFrame()
        self._parts: list[pl.DataFrame] = []
        self.problems: dict[int, str] = {}
        """Rows whose ``problem`` is not null, and what it says."""

    @property
    def frame(self) -> pl.DataFrame:
        """One row per owner: ``key`` (uint64), the layer's columns, ``owner``, ``problem``."""
        if self._parts:
            parts = [self._whole, *self._parts] if self._whole.width else self._parts
            whole = pl.concat(parts, how="diagonal_relaxed")
            self._whole = whole.rechunk() if whole.n_chunks() > _MANY_CHUNKS else whole
            self._parts = []
        return self._whole

    def __len__(self) -> int:
        return len(self._index)

    def rows(self, keys: U64) -> npt.NDArray[np.int32]:
        """Row in :attr:`frame` of each key; keys not met before are described now.

        :raises Exception: what the layer's ``describe`` raises; the caller contains it.
        """
        unique, inverse = distinct(keys)
        rows = self._index.find(unique)
        new = rows < 0
        if new.any():
            self._add(unique[new])
            rows = self._index.find(unique)
        return np.asarray(rows[inverse], np.int32)

    def _add(self, new: U64) -> None:
        described = _checked(self._layer, new)
        first = len(self)
        self._parts.append(described)
        self._index.add(new)
        problem = described.get_column("problem")
        if problem.null_count() < len(problem):
            bad = problem.is_not_null().arg_true().to_list()
            self.problems |= {first + row: str(problem[row]) for row in bad}


def _checked(layer: Layer, keys: U64) -> pl.DataFrame:
    """What the layer says of *keys*, with the columns that everybody relies on."""
    frame = layer.describe(keys)
    if frame.height != len(keys):
        raise ValueError(f"{layer.word}: describe() gave {frame.height} rows for {len(keys)} keys")
    if "owner" not in frame.columns:
        raise ValueError(f"{layer.word}: describe() gave no column `owner`")
    # By hstack(): in with_columns() polars' planning costs more than a few rows do.
    if "problem" not in frame.columns:
        frame = frame.hstack([pl.Series("problem", [None] * len(keys), pl.String)])
    key = pl.Series("key", keys, pl.UInt64)
    return frame.with_columns(key) if "key" in frame.columns else frame.hstack([key])
