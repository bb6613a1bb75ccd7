# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory that no line of ``/proc/meminfo`` counts: where the "lost" gigabytes are."""

from __future__ import annotations

import polars as pl

UNSEEN = (
    "ALLOC_PAGE",
    "EARLY_PAGE",
    "NO_STACK_PAGE",
    "UNOWNED_PAGE",
    "UNKNOWN_PAGE",
    "OTHER_PAGE",
    "DMA_PAGE",
    "GUARD_PAGE",
    "HUGE_ZERO_PAGE",
    "IO_URING_PAGE",
    "OFFLINE_PAGE",
    "PAGE_EXT_PAGE",
    "PAGE_POOL_PAGE",
    "PCP_FREE_PAGE",
    "PERF_PAGE",
    "PIPE_PAGE",
    "RING_BUFFER_PAGE",
    "SOCKET_PAGE",
    "STACKDEPOT_PAGE",
    "ZSMALLOC_PAGE",
)
"""Kinds of which MemTotal has the pages and no other line of meminfo does.

The rest are in MemFree, AnonPages, SwapCached, Cached, Buffers, Slab, KernelStack, PageTables, Percpu,
VmallocUsed, Hugetlb, or (kernel image, memory map, reserved) not in MemTotal either.
"""

_MODULE = r"\[([^\]]+)\]$"


def unseen(owners: pl.DataFrame) -> pl.DataFrame:
    """``owner``, ``word``, ``module`` ("" for the kernel's own) and ``pages``, most pages first."""
    mine = owners.filter(pl.col("word").is_in(UNSEEN))
    module = pl.col("owner").str.extract(_MODULE).fill_null("").alias("module")
    grouped = mine.group_by("word", "owner").agg(pl.col("pages").sum()).with_columns(module)
    return grouped.select("owner", "word", "module", "pages").sort(
        "pages", "word", "owner", descending=[True, False, False]
    )


def by_module(table: pl.DataFrame) -> pl.DataFrame:
    """``module`` and ``pages`` of :func:`unseen`, kernel modules only, most pages first."""
    modules = table.filter(pl.col("module") != "")
    summed = modules.group_by("module").agg(pl.col("pages").sum())
    return summed.sort("pages", "module", descending=[True, False])
