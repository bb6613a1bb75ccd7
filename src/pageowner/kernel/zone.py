# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nodes and zones: how many pages each spans, has and manages (include/linux/mmzone.h)."""

from __future__ import annotations

import drgn
import polars as pl

from pageowner.kernel.target import Kernel

_MOST_NODES = 1 << 10
ZONE_SCHEMA = {
    "node": pl.Int32,
    "zone": pl.String,
    "zone_index": pl.Int32,
    "address": pl.UInt64,
    "start": pl.Int64,
    "spanned": pl.Int64,
    "present": pl.Int64,
    "managed": pl.Int64,
}


def read_zones(kernel: Kernel) -> pl.DataFrame:
    """One row per populated zone: node, zone (name), zone_index, address, start PFN, and pages
    spanned, present and managed, as the target's ``struct zone`` has them."""
    rows = []
    for node, pgdat in nodes(kernel):
        zones = pgdat.node_zones
        try:
            found = [_zone(node, index, zones[index]) for index in range(len(zones))]
        except drgn.FaultError:
            kernel.partial = True
            kernel.notes.append(f"the zones of node {node} are not in the source: totals lack them")
            continue
        rows += [row for row in found if row is not None]
    return pl.DataFrame(rows, schema=ZONE_SCHEMA, orient="row")


def nodes(kernel: Kernel) -> list[tuple[int, drgn.Object]]:
    """Number and ``struct pglist_data *`` of each node that there is."""
    try:
        count = min(int(kernel.object("nr_node_ids")), _MOST_NODES)
        table = kernel.object("node_data")
        return [(node, table[node]) for node in range(count) if table[node]]
    except LookupError:
        return [(0, kernel.object("contig_page_data").address_of_())]  # CONFIG_NUMA=n


def _zone(node: int, index: int, zone: drgn.Object) -> tuple[object, ...] | None:
    present = int(zone.present_pages)
    if not present:
        return None
    return (
        node,
        zone.name.string_().decode("ascii", "backslashreplace"),
        index,
        int(zone.address_of_()),
        int(zone.zone_start_pfn),
        int(zone.spanned_pages),
        present,
        int(zone.managed_pages.counter),
    )
