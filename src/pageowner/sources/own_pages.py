# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pages of this very process: a live scan must not take its own comings and goings for the host's."""

from __future__ import annotations

import os
import time

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
_PRESENT = np.uint64(1 << 63)
_PFN = np.uint64((1 << 55) - 1)
# Reading the pagemap of a process with 200 MiB takes some milliseconds.
_SECONDS = 0.5
_LONGEST = 1 << 20


class OwnPages:
    """PFNs that this process has had since this was made, looked at twice a second at most.

    Needs CAP_SYS_ADMIN (Documentation/admin-guide/mm/pagemap.rst); without it there are none.
    """

    def __init__(self) -> None:
        self._seen = np.empty(0, np.int64)
        self._when = float("-inf")
        self.pfns()

    def pfns(self) -> I64:
        """Sorted, without duplicates."""
        if time.monotonic() - self._when >= _SECONDS:
            self._seen = np.union1d(self._seen, _read())
            self._when = time.monotonic()
        return self._seen


def _read() -> I64:
    """The PFNs that /proc/self/pagemap shows now."""
    parts = [np.empty(0, np.int64)]
    try:
        with open("/proc/self/maps") as maps:
            areas = [line.split(" ", 1)[0].split("-") for line in maps]
        pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return parts[0]
    try:
        for start, end in ((int(low, 16) >> 12, int(high, 16) >> 12) for low, high in areas):
            parts += [_entries(pagemap, at, min(_LONGEST, end - at)) for at in range(start, end, _LONGEST)]
    finally:
        os.close(pagemap)
    return np.unique(np.concatenate(parts))


def _entries(pagemap: int, page: int, count: int) -> I64:
    try:
        raw = os.pread(pagemap, count * 8, page * 8)
    except (OSError, OverflowError):  # the vsyscall page has none
        return np.empty(0, np.int64)
    words = np.frombuffer(raw[: len(raw) // 8 * 8], np.uint64)
    pfns = (words[(words & _PRESENT) != 0] & _PFN).astype(np.int64)
    return np.asarray(pfns[pfns > 0])
