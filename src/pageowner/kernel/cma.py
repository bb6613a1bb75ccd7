# SPDX-License-Identifier: LGPL-2.1-or-later
"""CMA areas: memory set aside at boot for large contiguous allocations (mm/cma.c)."""

from __future__ import annotations

from collections.abc import Iterator

import drgn
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.target import Kernel

CMA_SCHEMA = {"name": pl.String, "pfn": pl.Int64, "n": pl.Int64}
_MOST_AREAS = 1 << 10
_MOST_RANGES = 64
_MOST_PFN = 1 << 40


def read_cma(kernel: Kernel) -> pl.DataFrame:
    """One row per range of an area, by PFN: ``name``, ``pfn`` (its first page), ``n`` (pages).

    Empty without CONFIG_CMA, or where the source lacks the table. Since 6.15 an area may
    have several ranges.
    """
    try:
        count = min(int(kernel.object("cma_area_count")), _MOST_AREAS)
        areas = kernel.object("cma_areas")
        rows = [row for index in range(count) for row in _ranges(areas[index])]
    except (LookupError, drgn.FaultError):
        rows = []
    sane = [row for row in rows if 0 <= row[1] < _MOST_PFN and 0 < row[2] < _MOST_PFN]
    return pl.DataFrame(sane, schema=CMA_SCHEMA, orient="row").sort("pfn")


def _ranges(area: drgn.Object) -> Iterator[tuple[str, int, int]]:
    name = escape(area.name.string_().decode("utf-8", "surrogateescape"))
    try:
        found = [area.ranges[i] for i in range(min(int(area.nranges), _MOST_RANGES))]
    except AttributeError:
        found = [area]
    for each in found:
        yield name, int(each.base_pfn), int(each.count)
