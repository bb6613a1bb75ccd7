# SPDX-License-Identifier: LGPL-2.1-or-later
"""The owners of one layer: each distinct key described once, whatever the number of its pages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.layers.base import Layer

U64 = npt.NDArray[np.uint64]


class Owners:
    """Keys met so far, sorted, with the row of :attr:`frame` that describes each."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._keys = np.empty(0, np.uint64)
        self._rows = np.empty(0, np.int32)
        self.frame = pl.DataFrame()
        """One row per owner: ``key`` (uint64), the layer's columns, ``owner``, ``problem``."""

    def rows(self, keys: U64) -> npt.NDArray[np.int32]:
        """Row in :attr:`frame` of each key; keys not met before are described now.

        :raises Exception: what the layer's ``describe`` raises; the caller contains it.
        """
        unique, inverse = np.unique(keys, return_inverse=True)
        at = np.searchsorted(self._keys, unique)
        known = np.zeros(len(unique), np.bool_)
        inside = at < len(self._keys)
        known[inside] = self._keys[at[inside]] == unique[inside]
        if not known.all():
            self._add(unique[~known])
            at = np.searchsorted(self._keys, unique)
        return np.asarray(self._rows[at][inverse], np.int32)

    def _add(self, new: U64) -> None:
        described = _checked(self._layer, new)
        first = self.frame.height
        self.frame = pl.concat([self.frame, described], how="diagonal_relaxed") if first else described
        keys = np.concatenate([self._keys, new])
        rows = np.concatenate([self._rows, np.arange(first, first + len(new), dtype=np.int32)])
        order = np.argsort(keys, kind="stable")
        self._keys, self._rows = keys[order], rows[order]


def _checked(layer: Layer, keys: U64) -> pl.DataFrame:
    """What the layer says of *keys*, with the columns that everybody relies on."""
    frame = layer.describe(keys)
    if frame.height != len(keys):
        raise ValueError(f"{layer.word}: describe() gave {frame.height} rows for {len(keys)} keys")
    if "owner" not in frame.columns:
        raise ValueError(f"{layer.word}: describe() gave no column `owner`")
    if "problem" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.String).alias("problem"))
    return frame.with_columns(pl.Series("key", keys, pl.UInt64))
