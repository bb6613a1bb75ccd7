# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the slab caches are: which of them can be shrunk under pressure."""

from __future__ import annotations

import numpy as np

from pageowner.kernel.lists import list_structs
from pageowner.kernel.target import Kernel

# SLAB_RECLAIM_ACCOUNT was a macro until 6.8 (cc61eb851461 made it a bit of enum _slab_flag_bits).
_RECLAIM_ACCOUNT = 0x20000


def reclaimable_caches(kernel: Kernel) -> set[int]:
    """Addresses of the caches whose slabs count as SReclaimable."""
    bit = kernel.constant("_SLAB_RECLAIM_ACCOUNT")
    flag = 1 << bit if bit is not None else _RECLAIM_ACCOUNT
    link = kernel.offset("struct kmem_cache", "list")
    head = int(kernel.object("slab_caches").address_of_())
    caches = np.array(list_structs(kernel, head, link), np.uint64)
    rows, ok = kernel.gather(caches, kernel.dtype("struct kmem_cache", {"flags": "flags"}))
    return {int(c) for c in caches[ok & ((rows["flags"] & np.array(flag, rows["flags"].dtype)) != 0)]}
