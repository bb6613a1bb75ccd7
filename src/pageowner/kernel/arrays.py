# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arrays of many lengths, and trees, of many owners at once: descriptors, pipe buffers, lists of pages."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
WORD = np.dtype([("word", "<u8")])
# Bytes read at once; an array that is longer alone is cut, for its length is a torn word.
PIECE = 1 << 25
# Nodes of all trees together.
MOST_NODES = 1 << 22


def gather_narrow(
    kernel: Kernel, pointers: U64, dtype: np.dtype[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """:meth:`Kernel.gather` of only the bytes from the first field of *dtype* to the last.

    For a million inodes of which three members are wanted: the array has their size, not that of the inodes.
    """
    fields = {name: (field[0], field[1]) for name, field in (dtype.fields or {}).items()}
    first = min(offset for _, offset in fields.values())
    spec = {
        "names": list(fields),
        "formats": [kind for kind, _ in fields.values()],
        "offsets": [offset - first for _, offset in fields.values()],
        "itemsize": max(offset + kind.itemsize for kind, offset in fields.values()) - first,
    }
    # NULL stays what it is: an address that is never read.
    at = np.where(pointers != 0, pointers + np.uint64(first), np.uint64(0))
    return kernel.gather(at, np.dtype(spec))  # type: ignore[call-overload]


def gather_arrays(
    kernel: Kernel, addresses: U64, counts: npt.NDArray[Any], dtype: np.dtype[Any]
) -> tuple[I64, I64, npt.NDArray[Any]]:
    """All elements of the arrays at *addresses*, *counts* elements of *dtype* each.

    Arrays of one length are read together. Unreadable and impossibly long ones are left out.

    :returns: (index of the array, index in the array, element), int64, int64 and *dtype*; by length.
    """
    most = PIECE // dtype.itemsize
    counts = np.where(counts.astype(np.uint64) <= np.uint64(most), counts, 0).astype(np.int64)
    owners, places, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, dtype)]
    for count in np.unique(counts[counts > 0]).tolist():
        same = np.flatnonzero(counts == count)
        step = max(most // count, 1)
        for start in range(0, len(same), step):
            piece = same[start : start + step]
            found, ok = kernel.gather(addresses[piece], np.dtype([("all", dtype, (count,))]))
            owners.append(np.repeat(piece[ok], count))
            places.append(np.tile(np.arange(count), int(ok.sum())))
            rows.append(found["all"][ok].reshape(-1))
    return np.concatenate(owners), np.concatenate(places), np.concatenate(rows)


def gather_words(kernel: Kernel, addresses: U64, counts: npt.NDArray[Any]) -> tuple[I64, I64, U64]:
    """:func:`gather_arrays` of pointers, those that are zero left out."""
    owner, place, rows = gather_arrays(kernel, addresses, counts, WORD)
    word = np.ascontiguousarray(rows["word"])
    used = word != 0
    return owner[used], place[used], word[used]


def walk_trees(kernel: Kernel, roots: U64) -> tuple[I64, U64]:
    """The nodes of the red-black trees whose top nodes are *roots* (0: an empty tree).

    :returns: (index of the tree, address of the ``struct rb_node``), level by level. No node comes twice,
        so that a torn tree ends.
    """
    dtype = kernel.dtype("struct rb_node", {"left": "rb_left", "right": "rb_right"})
    owner, node = np.flatnonzero(roots), roots[roots != 0]
    owners, nodes = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    seen = np.empty(0, np.uint64)
    while len(node) and len(seen) <= MOST_NODES:
        node, first = np.unique(node, return_index=True)
        fresh = ~np.isin(node, seen, assume_unique=True)
        node, owner = node[fresh], owner[first[fresh]]
        rows, ok = kernel.gather(node, dtype)
        owners.append(owner[ok])
        nodes.append(node[ok])
        seen = np.union1d(seen, node)
        node = np.concatenate([rows["left"], rows["right"]])
        owner = np.concatenate([owner, owner])[node != 0]
        node = node[node != 0]
    return np.concatenate(owners), np.concatenate(nodes)
