# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory blocks: what /sys/devices/system/memory takes offline and online as one (drivers/base/memory.c)."""

from __future__ import annotations

import drgn
import numpy as np
import polars as pl

from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel
from pageowner.kernel.xarray import xarray_entries

BLOCK_SCHEMA = {"name": pl.String, "pfn": pl.Int64, "n": pl.Int64, "state": pl.String}
_MOST_SECTIONS = 1 << 14


def read_memory_blocks(kernel: Kernel) -> pl.DataFrame:
    """One row per block, by PFN: ``name`` (``memory7``), ``pfn``, ``n`` (pages), ``state`` (online, offline,
    changing). Empty without CONFIG_MEMORY_HOTPLUG, or where the source lacks them."""
    head = kernel.address("memory_blocks")  # an xarray since 4fb6eabf1037 (5.8)
    try:
        each = int(kernel.object("sections_per_block"))
        if head is None or not 0 < each <= _MOST_SECTIONS:
            return pl.DataFrame(schema=BLOCK_SCHEMA)
        number, entries = xarray_entries(kernel, head)
        dtype = kernel.dtype("struct memory_block", {"section": "start_section_nr", "state": "state"})
    except (LookupError, drgn.FaultError):
        return pl.DataFrame(schema=BLOCK_SCHEMA)
    rows, ok = kernel.gather(entries, dtype)
    pages = next((section.n for section in kernel.memo(read_sections)), 0)
    first = rows["section"].astype(np.int64) * pages
    ok &= (first >= 0) & (first < np.int64(1) << 52)
    states = _states(kernel)
    found = {
        "name": [f"memory{n}" for n in number[ok].tolist()],
        "pfn": first[ok],
        "n": np.full(int(ok.sum()), each * pages),
        "state": [states.get(state, "changing") for state in rows["state"][ok].tolist()],
    }
    return pl.DataFrame(found, schema=BLOCK_SCHEMA).sort("pfn")


def _states(kernel: Kernel) -> dict[int, str]:
    """Macros with a bit each; enum memory_block_state since 6.18 (and in 6.12's stable series)."""
    online, offline = kernel.constant("MEM_ONLINE"), kernel.constant("MEM_OFFLINE")
    return {1 if online is None else online: "online", 4 if offline is None else offline: "offline"}
