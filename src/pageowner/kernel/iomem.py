# SPDX-License-Identifier: LGPL-2.1-or-later
"""``iomem_resource``: what physical addresses are, as /proc/iomem shows it (kernel/resource.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.target import PAGE_SHIFT, PAGE_SIZE, Kernel

I64 = npt.NDArray[np.int64]

RAM = "System RAM"
_DEEPEST = 32
_MOST = 1 << 20
_SCHEMA = {
    "address": pl.UInt64,
    "start": pl.UInt64,
    "end": pl.UInt64,
    "name": pl.String,
    "depth": pl.Int64,
}


def read_iomem(kernel: Kernel) -> pl.DataFrame:
    """One row per resource below the root, parents before children.

    ``address`` (of the struct resource), ``start``, ``end`` (physical, both included), ``name``, ``depth``.
    """
    dtype = kernel.dtype(
        "struct resource",
        {"start": "start", "end": "end", "name": "name", "sibling": "sibling", "child": "child"},
    )
    root, _ = kernel.gather(np.array([int(kernel.object("iomem_resource").address_of_())], np.uint64), dtype)
    level, depth, seen = root["child"], 0, 0
    frames = [pl.DataFrame(schema=_SCHEMA)]
    while len(level) and depth < _DEEPEST and seen < _MOST:
        address, rows = _with_siblings(kernel, level, dtype)
        seen += len(rows)
        names = [escape(name or "") for name in kernel.read_strings(rows["name"], 64)]
        data = {"address": address, "start": rows["start"], "end": rows["end"], "name": names, "depth": depth}
        frames.append(
            pl.DataFrame(
                {k: np.ascontiguousarray(v) if isinstance(v, np.ndarray) else v for k, v in data.items()}
            ).select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())
        )
        level, depth = rows["child"][rows["child"] != 0], depth + 1
    return pl.concat(frames).filter(pl.col("end") >= pl.col("start"))


def _with_siblings(
    kernel: Kernel, first: npt.NDArray[np.uint64], dtype: np.dtype[np.void]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.void]]:
    """The resources at *first* and all that come after them on the same level."""
    addresses, found = [np.empty(0, np.uint64)], [np.empty(0, dtype)]
    here, met = np.unique(first[first != 0]), np.empty(0, np.uint64)
    while len(here) and len(met) < _MOST:
        rows, ok = kernel.gather(here, dtype)
        addresses.append(here[ok])
        found.append(rows[ok])
        met = np.union1d(met, here)
        here = np.setdiff1d(rows["sibling"][ok], met)
        here = here[here != 0]
    return np.concatenate(addresses), np.concatenate(found)


def ram_ranges(iomem: pl.DataFrame) -> tuple[I64, I64]:
    """First and last PFN of each stretch of RAM: whole pages only, as the kernel rounds it."""
    ram = iomem.filter((pl.col("depth") == 0) & pl.col("name").str.starts_with(RAM)).sort("start")
    first = (ram["start"].to_numpy() + np.uint64(PAGE_SIZE - 1) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    last = ((ram["end"].to_numpy() + np.uint64(1) >> np.uint64(PAGE_SHIFT)).astype(np.int64)) - 1
    return first[last >= first], last[last >= first]


def is_ram(ranges: tuple[I64, I64], pfns: I64) -> npt.NDArray[np.bool_]:
    """Whether each PFN is RAM, by :func:`ram_ranges`."""
    first, last = ranges
    if not len(first):
        return np.zeros(len(pfns), np.bool_)
    at = np.searchsorted(first, pfns, "right") - 1
    return np.asarray((at >= 0) & (pfns <= last[np.maximum(at, 0)]))


def is_ram_from(ranges: tuple[I64, I64], start: int, n: int) -> npt.NDArray[np.bool_]:
    """:func:`is_ram` of the PFNs *start* … *start* + *n* - 1, bool[n]."""
    ram = np.zeros(n, np.bool_)
    for first, last in zip(*ranges, strict=True):
        ram[max(first - start, 0) : max(last + 1 - start, 0)] = True
    return ram
