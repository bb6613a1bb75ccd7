# SPDX-License-Identifier: LGPL-2.1-or-later
"""Per-CPU lists of free pages, in front of the buddy allocator (``struct per_cpu_pages``, mm/page_alloc.c).

Nothing in the struct page tells such a page: it must be found on its list.
"""

from __future__ import annotations

from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.lists import walk_chains, walk_lists
from pageowner.kernel.percpu import cpu_offsets, possible_cpus
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel
from pageowner.kernel.zone import read_zones

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_COSTLY_ORDER = 3  # PAGE_ALLOC_COSTLY_ORDER: lists of orders up to this
_HPAGE_PMD_ORDER = 9
NO_CPU = -1


@dataclass(frozen=True)
class PcpPages:
    """Free blocks on per-CPU lists, columns aligned: ``pfn``, ``order``, ``cpu`` (:data:`NO_CPU`: on the
    zone's own lockless list), ``zone`` (row of :func:`~pageowner.kernel.zone.read_zones`), all int64."""

    pfn: I64
    order: I64
    cpu: I64
    zone: I64


@dataclass(frozen=True)
class PcpSets:
    """One ``struct per_cpu_pages`` per populated zone and possible CPU: addresses, and whose they are."""

    address: U64
    zone: I64
    cpu: I64


def read_pcp_sets(kernel: Kernel) -> PcpSets:
    """Where the per-CPU page sets are."""
    zones = read_zones(kernel).get_column("address").to_numpy().astype(np.uint64)
    cpus, offsets = possible_cpus(kernel), cpu_offsets(kernel)
    # 28f836b6777b ("mm/page_alloc: split per cpu page lists and zone stats", 5.14)
    member = kernel.offset("struct zone", "per_cpu_pageset", "pageset")
    inner = (
        0
        if kernel.has_member("struct zone", "per_cpu_pageset")
        else kernel.offset("struct per_cpu_pageset", "pcp")
    )
    bases, ok = kernel.gather(zones + np.uint64(member), np.dtype("<u8"))
    bases = bases[ok] + np.uint64(inner)
    address = (bases[:, None] + offsets[None, :]).reshape(-1)
    zone = np.repeat(np.flatnonzero(ok), len(cpus))
    return PcpSets(address, zone.astype(np.int64), np.tile(cpus, len(bases)))


def read_pcp(kernel: Kernel) -> PcpPages:
    """All blocks on all per-CPU lists of all zones."""
    sets, sections = read_pcp_sets(kernel), kernel.memo(read_sections)
    lists = _lists_per_set(kernel)
    first = kernel.offset("struct per_cpu_pages", "lists")
    steps = np.uint64(first) + np.arange(lists, dtype=np.uint64) * np.uint64(16)
    found = walk_lists(kernel, (sets.address[:, None] + steps[None, :]).reshape(-1))
    link = kernel.offset("struct page", "pcp_list", "lru")
    pfn = sections.page_pfn(found.node - np.uint64(link))
    row = found.owner // lists
    order = _orders(kernel, lists)[found.owner % lists]
    good = pfn >= 0
    if kernel.live:
        good &= _unused(kernel, found.node - np.uint64(link))
    pages = PcpPages(pfn[good], order[good], sets.cpu[row][good], sets.zone[row][good])
    return _with_lockless(kernel, pages)


def _unused(kernel: Kernel, pages: U64) -> npt.NDArray[np.bool_]:
    """Whether nobody holds a reference to these struct pages (addresses).

    A list that is walked while pages leave it leads on over the list that they went to, which is linked by
    the same word: all of an LRU list, perhaps.
    """
    count, ok = kernel.gather(pages + np.uint64(kernel.offset("struct page", "_refcount")), np.dtype("<i4"))
    return np.asarray(ok & (count == 0))


def _lists_per_set(kernel: Kernel) -> int:
    type_ = kernel.type("struct per_cpu_pages").member("lists").type
    return int(type_.length or 0) if type_.kind == drgn.TypeKind.ARRAY else 0


def _orders(kernel: Kernel, lists: int) -> I64:
    """``pindex_to_order()`` of each list.

    44042b449872 ("allow high-order pages to be stored on the per-cpu lists", 5.14); 3 lists before. What
    comes after the low orders (one list, since 6.9 two) holds huge pages.
    """
    types = kernel.constant("MIGRATE_PCPTYPES") or 3
    low = types * (_COSTLY_ORDER + 1)
    index = np.arange(lists, dtype=np.int64)
    return np.where(index < low, index // types, _HPAGE_PMD_ORDER)


def _with_lockless(kernel: Kernel, pages: PcpPages) -> PcpPages:
    """Add what is on ``zone.trylock_free_pages`` (8c57b687e833, 6.15), freed where no lock could be taken."""
    if not kernel.has_member("struct zone", "trylock_free_pages"):
        return pages
    zones = read_zones(kernel).get_column("address").to_numpy().astype(np.uint64)
    first, _ = kernel.gather(
        zones + np.uint64(kernel.offset("struct zone", "trylock_free_pages")), np.dtype("<u8")
    )
    found = walk_chains(kernel, first, 0)
    node = found.node - np.uint64(kernel.offset("struct page", "pcp_llist"))
    order, ok = kernel.gather(node + np.uint64(kernel.offset("struct page", "private")), np.dtype("<u8"))
    pfn = kernel.memo(read_sections).page_pfn(node)
    good = ok & (pfn >= 0) & (order <= np.uint64(_HPAGE_PMD_ORDER + 9))
    return PcpPages(
        np.concatenate([pages.pfn, pfn[good]]),
        np.concatenate([pages.order, order[good].astype(np.int64)]),
        np.concatenate([pages.cpu, np.full(int(good.sum()), NO_CPU, np.int64)]),
        np.concatenate([pages.zone, found.owner[good]]),
    )
