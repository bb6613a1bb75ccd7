# SPDX-License-Identifier: LGPL-2.1-or-later
"""The free counts of zones against the free blocks that their struct pages make."""

from __future__ import annotations

from collections.abc import Iterator

import drgn
import numpy as np

from pageowner.kernel import page_type
from pageowner.kernel.lists import walk_lists
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel
from pageowner.kernel.units import read_layout
from pageowner.kernel.zone import read_zones
from pageowner.snapshot.checks.view import U64, Findings, nothing
from pageowner.snapshot.scan import Scan

_LIST_HEAD = 16


def free_counts(scan: Scan) -> Iterator[Findings]:
    """``free_area.nr_free`` is the number of blocks on its lists, and these are free blocks of that order."""
    for row in scan.kernel.memo(read_zones).iter_rows(named=True):
        try:
            yield from _of_zone(scan.kernel, row["zone"], row["node"], row["address"])
        except (LookupError, drgn.FaultError):
            yield nothing("free-list")


def _of_zone(kernel: Kernel, name: str, node: int, address: int) -> Iterator[Findings]:
    at = kernel.offset("struct free_area", "nr_free")
    size = int(kernel.type("struct free_area").size or 0)
    areas = address + kernel.offset("struct zone", "free_area")
    for order in range(kernel.vmcoreinfo.lengths.get("zone.free_area", 11)):
        area = areas + order * size
        stored = int.from_bytes(kernel.read(area + at, 8), "little")
        heads = np.uint64(area) + np.arange(at // _LIST_HEAD, dtype=np.uint64) * np.uint64(_LIST_HEAD)
        walk = walk_lists(kernel, heads)
        nodes = walk.node - np.uint64(kernel.offset("struct page", "buddy_list", "lru"))
        where = f"zone {name} of node {node}, order {order}"
        yield from _compare(kernel, where, stored, nodes, walk.broken)
        yield _no_blocks(kernel, where, nodes, order)


def _compare(kernel: Kernel, where: str, stored: int, nodes: U64, broken: int) -> Iterator[Findings]:
    none = np.array([-1], np.int64)
    if broken or (kernel.memo(read_sections).page_pfn(nodes) < 0).any():
        yield Findings("free-list", none, lambda _: f"{where}: a list of free blocks is broken")
    elif stored != len(nodes):
        said = f"{where}: nr_free is {stored}, but {len(nodes)} blocks are on the lists"
        yield Findings("free-list", none, lambda _: said)


def _no_blocks(kernel: Kernel, where: str, nodes: U64, order: int) -> Findings:
    """What is on the lists of *order*, but by its own struct page no free block of that order."""
    layout = kernel.memo(read_layout)
    rows, ok = kernel.gather(nodes, layout.dtype)
    codes = layout.types.codes(np.ascontiguousarray(rows["mapcount"]).view(np.uint32))
    pfn = layout.sections.page_pfn(nodes)
    bad = pfn[ok & (pfn >= 0) & ((codes != page_type.BUDDY) | (rows["private"] != np.uint64(order)))]
    return Findings("free-list", bad, lambda _: f"is on the free list of {where}, but is no such block")
