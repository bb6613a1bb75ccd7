# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs of consecutive page frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def runs_of(pfns: I64) -> tuple[I64, I64]:
    """Runs of *pfns*, which rise by one within a run: (first PFN, pages) of each, in the order given.

    PFNs below 0 (no page) are left out.
    """
    good = pfns[pfns >= 0]
    if not len(good):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(good) != 1) + 1))
    return good[starts], np.diff(np.append(starts, len(good)))


def run_starts(*columns: npt.NDArray[Any]) -> I64:
    """Where runs of rows begin that are alike in all *columns*, arrays of one length."""
    changed = np.ones(len(columns[0]), np.bool_)
    changed[1:] = False
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(changed)


def distinct(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """``np.unique(values, return_inverse=True)``, quick where neighbours are mostly equal, as pages' are."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(values) else np.empty(0, int)
    if 2 * len(starts) > len(values):
        unique, inverse = np.unique(values, return_inverse=True)
        return unique, inverse
    unique, inverse = np.unique(values[starts], return_inverse=True)
    return unique, np.repeat(inverse, np.diff(starts, append=len(values)))
