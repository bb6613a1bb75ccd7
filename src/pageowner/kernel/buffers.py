# SPDX-License-Identifier: LGPL-2.1-or-later
"""Buffer heads that somebody holds: page cache of block devices with such a one cannot move (fs/buffer.c)."""

from __future__ import annotations

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.percpu import cpu_offsets
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_MOST_BUFFERS = 128  # of a folio: blocks of 512 bytes in 64 KiB


def read_cached_buffers(kernel: Kernel) -> U64:
    """Addresses of the buffers in the per-CPU LRU caches, which let go when asked; sorted."""
    base = kernel.address("bh_lrus")
    try:
        slots = int(kernel.type("struct bh_lru").member("bhs").type.length or 0)
        if base is None:
            return np.empty(0, np.uint64)
        dtype = np.dtype([("bhs", "<u8", (slots,))])
        rows, ok = kernel.gather(cpu_offsets(kernel) + np.uint64(base), dtype)
    except (LookupError, drgn.FaultError):
        return np.empty(0, np.uint64)
    return np.sort(rows["bhs"][ok].reshape(-1))


def held_buffers(kernel: Kernel, first: U64) -> Bools:
    """Whether any buffer of a folio is held, as buffer_migrate_folio_norefs() asks.

    :param first: ``folio_buffers()`` of each folio: its first buffer head.
    """
    cached = kernel.memo(read_cached_buffers)
    dtype = kernel.dtype("struct buffer_head", {"next": "b_this_page", "count": "b_count"})
    held = np.zeros(len(first), np.bool_)
    rows, at = np.arange(len(first)), first
    for _ in range(_MOST_BUFFERS):
        if not len(rows):
            break
        heads, ok = kernel.gather(at, dtype)
        low, high = np.searchsorted(cached, at), np.searchsorted(cached, at, side="right")
        held[rows] |= ok & (heads["count"].astype(np.int64) > high - low)
        more = ok & (heads["next"] != first[rows]) & (heads["next"] != 0)
        rows, at = rows[more], heads["next"][more]
    return held
