# SPDX-License-Identifier: LGPL-2.1-or-later
"""PCP_FREE_PAGE: free pages on the per-CPU lists (mm/page_alloc.c)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.pcp import NO_CPU, read_pcp
from pageowner.kernel.zone import read_zones
from pageowner.layers.base import Band, Claims, Layer, Needs

_ORDER_BITS, _CPU_BITS = 8, 24


class PcpFreePages(Layer):
    """The key packs zone, CPU + 1 and order of the list."""

    word = "PCP_FREE_PAGE"
    band = Band.FREE
    line = "PCP_FREE_PAGE cpu:{cpu} order:{order} zone:{zone}"
    needs = Needs(
        members=("struct zone.per_cpu_pageset|struct zone.pageset", "struct per_cpu_pages.lists"),
        globals=("__per_cpu_offset",),
    )

    def walk(self) -> Iterator[Claims]:
        pages = read_pcp(self.kernel)
        packed = (pages.zone << _CPU_BITS | pages.cpu - NO_CPU) << _ORDER_BITS | pages.order
        yield Claims(pages.pfn, np.int64(1) << pages.order, packed.astype(np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        names = read_zones(self.kernel)
        order = (keys & np.uint64((1 << _ORDER_BITS) - 1)).astype(np.int64)
        packed = (keys >> np.uint64(_ORDER_BITS)).astype(np.int64)
        cpu = (packed & ((1 << _CPU_BITS) - 1)) + NO_CPU
        zone = names[(packed >> _CPU_BITS).tolist()]
        owner = [
            f"cpu {c} node {n} {z} order {o}"
            for c, n, z, o in zip(cpu.tolist(), zone["node"], zone["zone"], order.tolist(), strict=True)
        ]
        return pl.DataFrame({"cpu": cpu, "order": order, "zone": zone["zone"], "owner": owner})
