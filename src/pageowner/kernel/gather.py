# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read many structures at once: sort the pointers, coalesce the reads, decode with a dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.key_index import KeyIndex

# Two structures nearer than this are read in one go: copying 16 KiB costs less than a call.
GAP = 16 << 10
# No read is longer than this, so that memory stays bounded and a fault costs little.
LONGEST = 1 << 20
KERNEL_HALF = 1 << 63


def gather_rows(
    read: Callable[[int, int], bytes], pointers: npt.NDArray[np.uint64], dtype: np.dtype[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Rows of *dtype* at *pointers*; see :meth:`pageowner.kernel.target.Kernel.gather`."""
    unique, inverse = np.unique(pointers, return_inverse=True)
    size = dtype.itemsize
    raw = np.zeros((len(unique), size), np.uint8)
    ok = np.zeros(len(unique), np.bool_)
    # A user-space or null "pointer" is never read: it is a torn or foreign word.
    plausible = int(np.searchsorted(unique, np.uint64(KERNEL_HALF)))
    for start, stop in _groups(unique, plausible, size):
        _read_group(read, unique, start, stop, raw, ok)
    rows = raw.view(dtype).reshape(-1) if size else np.zeros(len(unique), dtype)
    return rows[inverse], ok[inverse]


class GatherCache:
    """Structures of one dtype that are asked for again and again: each is read once."""

    def __init__(self, read: Callable[[int, int], bytes], dtype: np.dtype[Any]) -> None:
        self._read, self._dtype = read, dtype
        self._index = KeyIndex()
        self._rows, self._ok = np.empty(0, dtype), np.empty(0, np.bool_)

    def rows(self, pointers: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """The same as :func:`gather_rows`."""
        unique, inverse = np.unique(pointers, return_inverse=True)
        at = self.numbers(unique)[inverse]
        return self._rows[at], self._ok[at]

    def numbers(self, unique: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Numbers of distinct pointers, 0, 1, … in the order in which they were first asked for."""
        at = self._index.find(unique)
        new = unique[at < 0]
        if len(new):
            self._add(new)
            at = self._index.find(unique)
        return at

    def _add(self, new: npt.NDArray[np.uint64]) -> None:
        rows, ok = gather_rows(self._read, new, self._dtype)
        end = len(self._index) + len(new)
        if end > len(self._rows):  # twice the room, so that it is seldom moved
            self._rows = np.resize(self._rows, 2 * end) if len(self._rows) else np.empty(2 * end, self._dtype)
            self._ok = np.resize(self._ok, 2 * end) if len(self._ok) else np.empty(2 * end, np.bool_)
        self._rows[len(self._index) : end], self._ok[len(self._index) : end] = rows, ok
        self._index.add(new)


def _groups(unique: npt.NDArray[np.uint64], first: int, size: int) -> list[tuple[int, int]]:
    """Index ranges of *unique*[*first*:] whose structures are to be read together."""
    if first >= len(unique):
        return []
    near = unique[first:]
    cut = np.flatnonzero(np.diff(near) > np.uint64(size + GAP)) + 1
    bounds = np.concatenate(([0], cut, [len(near)])) + first
    out = []
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        while start < stop:
            # A dense stretch longer than LONGEST is cut where the limit falls.
            limit = min(int(unique[start]) + LONGEST, (1 << 64) - 1)
            end = int(np.searchsorted(unique[start:stop], np.uint64(limit))) + start
            out.append((start, max(end, start + 1)))
            start = max(end, start + 1)
    return out


def _read_group(
    read: Callable[[int, int], bytes],
    unique: npt.NDArray[np.uint64],
    start: int,
    stop: int,
    raw: npt.NDArray[np.uint8],
    ok: npt.NDArray[np.bool_],
) -> None:
    """Read structures *start* … *stop* in one go, or halve the group around what faults."""
    todo = [(start, stop)]
    size = raw.shape[1]
    while todo:
        low, high = todo.pop()
        base = int(unique[low])
        try:
            data = read(base, int(unique[high - 1]) - base + size)
        except (drgn.FaultError, OverflowError, ValueError):
            if high - low > 1:
                middle = (low + high) // 2
                todo += [(low, middle), (middle, high)]
            continue
        offsets = (unique[low:high] - np.uint64(base)).astype(np.int64)
        # Every window of *size* bytes, without copying: row i begins at byte i.
        windows = np.ndarray((len(data) - size + 1, size), np.uint8, data, 0, (1, 1))
        raw[low:high] = windows[offsets]
        ok[low:high] = True
