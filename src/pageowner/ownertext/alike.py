# SPDX-License-Identifier: LGPL-2.1-or-later
"""Neighbouring rows that are alike: records of neighbouring pages mostly have one allocator and one stack.

What is made once per run of such rows and then repeated costs next to nothing per row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import polars as pl

T = TypeVar("T")


class Alike:
    """Runs of neighbouring rows of *frame* that are equal in *columns*, those that it has."""

    def __init__(self, frame: pl.DataFrame, *columns: str) -> None:
        part = frame.select(name for name in columns if name in frame.columns)
        begins = np.ones(part.height, np.bool_)
        begins[1:] = False
        for column in part.iter_columns():
            changed = column.slice(1) != column.head(-1)
            begins[1:] |= (changed.fill_null(True) if changed.null_count() else changed).to_numpy()
        self._run = np.cumsum(begins, dtype=np.uint32) - np.uint32(1)
        self.first = part[np.flatnonzero(begins)]
        """The first row of each run."""

    def repeated(self, values: pl.Series) -> pl.Series:
        """*values*, one per run, for each row."""
        return values.gather(self._run)

    def shared(self, values: list[T]) -> list[T]:
        """*values*, one per run, for each row: the same objects again."""
        each = np.empty(len(values), object)
        each[:] = values
        return each[self._run].tolist()  # type: ignore[no-any-return]


def text_of_each(values: pl.Series, text: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """``text(values)``, where *text* is asked for one value per run if runs are long. No nulls."""
    runs = Alike(values.to_frame(), values.name)
    if 2 * runs.first.height > len(values):
        return text(values)
    return runs.repeated(text(runs.first.to_series()))
