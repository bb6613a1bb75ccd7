# SPDX-License-Identifier: LGPL-2.1-or-later
"""Neighbouring rows that are alike: records of neighbouring pages mostly have one allocator and one stack.

What is made once per run of such rows and then repeated costs next to nothing per row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import polars as pl

T = TypeVar("T")


class Alike:
    """Runs of neighbouring rows that are equal in all *columns*, series of one length; one at least."""

    def __init__(self, columns: Sequence[pl.Series]) -> None:
        begins = np.ones(len(columns[0]), np.bool_)
        begins[1:] = False
        for column in columns:
            changed = column.slice(1) != column.head(-1)
            begins[1:] |= (changed.fill_null(True) if changed.null_count() else changed).to_numpy()
        # Series take what series of indices name; gather() would build a query first.
        self._run = pl.Series(np.cumsum(begins, dtype=np.uint32) - np.uint32(1))
        self._first = pl.Series(np.flatnonzero(begins).astype(np.uint32))
        self.first = pl.DataFrame([column[self._first] for column in columns])
        """The first row of each run."""

    def __len__(self) -> int:
        return len(self._first)

    def repeated(self, values: pl.Series) -> pl.Series:
        """*values*, one per run, for each row."""
        return values[self._run]

    def shared(self, values: list[T]) -> list[T]:
        """*values*, one per run, for each row: the same objects again."""
        each = np.empty(len(values), object)
        each[:] = values
        return each[self._run.to_numpy()].tolist()  # type: ignore[no-any-return]


def alike(frame: pl.DataFrame, *columns: str) -> Alike:
    """Runs of the rows of *frame* that are equal in those of *columns* that it has."""
    return Alike([frame.get_column(name) for name in columns if name in frame.columns])


def text_of_each(values: pl.Series, text: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """``text(values)``, where *text* is asked for one value per run if runs are long."""
    runs = Alike([values])
    if 2 * len(runs) > len(values):
        return text(values)
    return runs.repeated(text(runs.first.to_series()))
