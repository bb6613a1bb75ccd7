# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read many maple trees at once, level by level (lib/maple_tree.c)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

NODE_SIZE = 256
NODE_MASK = np.uint64(NODE_SIZE - 1)
NODE = np.dtype([("words", "<u8", (NODE_SIZE // 8,))])
ULONG_MAX = np.uint64(0xFFFFFFFFFFFFFFFF)
MAX_HEIGHT = 31  # MT_FLAGS_HEIGHT is five bits
# Entries below are the tree's own marks; a node pointer in ma_root has bit 1 set and is above.
RESERVED = np.uint64(4096)
# enum maple_type, when the type information lacks it
LEAF, RANGE, ARANGE = 1, 2, 3


@dataclass(frozen=True)
class Entries:
    """What the trees hold: ``tree`` int64[n], index of the tree; ``entry`` uint64[n]; inclusive ``first`` …
    ``last`` index, uint64[n]. ``broken``: nodes that were unreadable or make no sense."""

    tree: I64
    entry: U64
    first: U64
    last: U64
    broken: int


@dataclass(frozen=True)
class _Nodes:
    tree: I64
    node: U64
    first: U64
    last: U64

    def take(self, rows: npt.NDArray[np.int64]) -> _Nodes:
        return _Nodes(self.tree[rows], self.node[rows], self.first[rows], self.last[rows])


@dataclass(frozen=True)
class _Shape:
    """Slots of a node type, and at which words pivots and slots start."""

    slots: int
    pivot: int
    slot: int


def read_trees(kernel: Kernel, roots: U64) -> Entries:
    """All entries of the maple trees whose ``ma_root`` words are *roots*, ordered by (tree, index)."""
    full = np.zeros(len(roots), np.uint64)
    nodes = _Nodes(np.arange(len(roots)), roots, full, full + ULONG_MAX)
    is_node = (roots > RESERVED) & (roots & np.uint64(3) == 2)
    # A root that is no node is the one entry, at index 0.
    single = nodes.take(np.flatnonzero(~is_node & (roots != 0)))
    leaves = [_Nodes(single.tree, single.node, single.first, single.first)]
    nodes, broken = nodes.take(np.flatnonzero(is_node)), 0
    seen = np.empty(0, np.uint64)
    for _ in range(MAX_HEIGHT):
        if not len(nodes.node):
            break
        # A tree that leads back up is corrupt; each node is read once.
        fresh = ~np.isin(nodes.node & ~NODE_MASK, seen)
        broken += int(len(fresh) - fresh.sum())
        nodes = nodes.take(np.flatnonzero(fresh))
        seen = np.union1d(seen, nodes.node & ~NODE_MASK)
        leaf, nodes, bad = _level(kernel, nodes)
        leaves.append(leaf)
        broken += bad
    return _entries(leaves, broken + len(nodes.node))


def _entries(leaves: list[_Nodes], broken: int) -> Entries:
    tree = np.concatenate([leaf.tree for leaf in leaves])
    first = np.concatenate([leaf.first for leaf in leaves])
    last = np.concatenate([leaf.last for leaf in leaves])
    entry = np.concatenate([leaf.node for leaf in leaves])
    order = np.lexsort((first, tree))
    order = order[entry[order] > RESERVED]
    return Entries(tree[order], entry[order], first[order], last[order], broken)


def _level(kernel: Kernel, nodes: _Nodes) -> tuple[_Nodes, _Nodes, int]:
    """Entries of the leaves among *nodes*, the nodes that the others point to, and how many were bad."""
    rows, ok = kernel.gather(nodes.node & ~NODE_MASK, NODE)
    words = rows["words"].reshape(-1, NODE_SIZE // 8)
    kind = (nodes.node >> np.uint64(3)) & np.uint64(0xF)
    leaves: list[_Nodes] = []
    inner: list[_Nodes] = []
    good = 0
    for value, shape, is_leaf in _shapes(kernel):
        these = np.flatnonzero(ok & (kind == value))
        good += len(these)
        (leaves if is_leaf else inner).append(_slots(nodes.take(these), words[these], shape))
    return _concat(leaves), _concat(inner), len(nodes.node) - good


def _shapes(kernel: Kernel) -> list[tuple[int, _Shape, bool]]:
    return kernel.memo(_read_shapes)


def _read_shapes(kernel: Kernel) -> list[tuple[int, _Shape, bool]]:
    def number(name: str, default: int) -> int:
        value = kernel.constant(name)
        return default if value is None else value

    range64, arange64 = _shape(kernel, "struct maple_range_64"), _shape(kernel, "struct maple_arange_64")
    return [
        (number("maple_leaf_64", LEAF), range64, True),
        (number("maple_range_64", RANGE), range64, False),
        (number("maple_arange_64", ARANGE), arange64, False),
    ]


def _shape(kernel: Kernel, name: str) -> _Shape:
    pivots = int(kernel.type(name).member("pivot").type.length or 0)
    return _Shape(pivots + 1, kernel.offset(name, "pivot") // 8, kernel.offset(name, "slot") // 8)


def _slots(nodes: _Nodes, words: U64, shape: _Shape) -> _Nodes:
    """The used slots of *nodes*, with the range of indexes of each.

    Slot i ends at pivot i; the last used one ends where the node does, be it that its pivot says so, that
    it is zero (never set), or that there is none.
    """
    ends = np.empty((len(words), shape.slots), np.uint64)
    ends[:, :-1] = words[:, shape.pivot : shape.pivot + shape.slots - 1]
    ends[:, -1] = nodes.last
    zero = ends == 0
    zero[:, 0] = False
    ends = np.where(zero, nodes.last[:, None], ends)
    ends = np.minimum(ends, nodes.last[:, None])
    starts = np.empty_like(ends)
    starts[:, 0] = nodes.first
    starts[:, 1:] = ends[:, :-1] + np.uint64(1)
    # Slots behind the last used one hold what was there before.
    used = np.ones(ends.shape, np.bool_)
    used[:, 1:] = np.cumsum(ends[:, :-1] >= nodes.last[:, None], axis=1) == 0
    slots = words[:, shape.slot : shape.slot + shape.slots]
    row, column = np.nonzero(used & (slots != 0) & (starts <= ends))
    return _Nodes(nodes.tree[row], slots[row, column], starts[row, column], ends[row, column])


def _concat(parts: list[_Nodes]) -> _Nodes:
    none = np.empty(0, np.uint64)
    parts = [_Nodes(np.empty(0, np.int64), none, none, none), *parts]
    return _Nodes(
        np.concatenate([p.tree for p in parts]),
        np.concatenate([p.node for p in parts]),
        np.concatenate([p.first for p in parts]),
        np.concatenate([p.last for p in parts]),
    )
