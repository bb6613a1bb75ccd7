# SPDX-License-Identifier: LGPL-2.1-or-later
"""Entries of an xarray or radix tree, read node by node in bulk (lib/xarray.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
# Entries in all: more than any one tree of pages that somebody would want to list.
MOST = 1 << 26
# A pointer whose low bits are 10 is internal: a node above this value, else a sibling or a special entry.
_NODE, _NODE_MIN = 2, 4096


def xarray_entries(kernel: Kernel, head: int) -> tuple[U64, U64]:
    """All entries of the tree at *head*: the address of a ``struct xarray`` or ``radix_tree_root``.

    Values (entries with the low bit set: 2 * n + 1 for n) are given as they are stored. An entry that
    covers several indices comes once, with the first.

    :returns: (index, entry), uint64, by index.
    """
    top = _top(kernel, head)
    if top & 3 != _NODE or top <= _NODE_MIN:
        found = np.array([top] if top else [], np.uint64)
        return np.zeros(len(found), np.uint64), found
    return _below(kernel, np.array([top - _NODE], np.uint64))


def _top(kernel: Kernel, head: int) -> int:
    """``xa_head``; a radix_tree_root has been one under another name since 01959dfe771c (4.20)."""
    at = np.array([head % (1 << 64)], np.uint64)  # a torn pointer plus an offset may be too large
    rows, ok = kernel.gather(at, kernel.dtype("struct xarray", {"head": "xa_head"}))
    return int(rows["head"][0]) if ok[0] else 0


def _below(kernel: Kernel, nodes: U64) -> tuple[U64, U64]:
    slots = int(kernel.type("struct xa_node").member("slots").type.length or 64)
    at = kernel.offset("struct xa_node", "slots")
    node_size = int(kernel.type("struct xa_node").size or 0)
    dtype = np.dtype(
        {
            "names": ["shift", "slots"],
            "formats": ["u1", ("<u8", (slots,))],
            "offsets": [kernel.offset("struct xa_node", "shift"), at],
            "itemsize": node_size,
        }
    )
    base, top_shift = np.zeros(len(nodes), np.uint64), 64
    indices, entries = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    total = 0
    while len(nodes) and total < MOST:
        rows, ok = kernel.gather(nodes, dtype)
        # Shifts fall from level to level: a node that does not is part of a loop.
        ok &= rows["shift"] < top_shift
        if not ok.any():
            break
        top_shift = int(rows["shift"][ok].max())
        node, slot = np.nonzero((rows["slots"] != 0) & ok[:, None])
        entry = rows["slots"][node, slot]
        index = base[node] + (slot.astype(np.uint64) << rows["shift"][node].astype(np.uint64))
        internal = (entry & np.uint64(3)) == np.uint64(_NODE)
        indices.append(index[~internal])
        entries.append(entry[~internal])
        down = internal & (entry > np.uint64(_NODE_MIN))
        nodes, base = entry[down] - np.uint64(_NODE), index[down]
        total += len(index)
    order = np.argsort(np.concatenate(indices), kind="stable")
    return np.concatenate(indices)[order], np.concatenate(entries)[order]
