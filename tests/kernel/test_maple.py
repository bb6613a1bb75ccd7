# SPDX-License-Identifier: LGPL-2.1-or-later
"""Maple trees built by hand; tests/kernel/test_pagetable_truth.py reads those of real kernels."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import drgn
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pageowner.kernel.gather import gather_rows
from pageowner.kernel.maple import read_trees

BASE = 0xFFFF888000000000
TOP = (1 << 64) - 1
LEAF, RANGE, ARANGE = 1, 2, 3
SLOTS = {LEAF: 16, RANGE: 16, ARANGE: 10}


class Trees:
    """Nodes of 256 bytes: parent, pivots, slots; what a node does not use holds old words."""

    def __init__(self, stale: int) -> None:
        self.nodes: dict[int, bytes] = {}
        self.stale = stale

    def node(self, kind: int, slots: list[int], ends: list[int], last: int) -> int:
        """A node; *ends* of the slots, the last of which is the node's own end. Its tagged pointer."""
        n = SLOTS[kind]
        pivots = ends if len(ends) < n else ends[:-1]
        if len(ends) < n - 1 and ends[-1] != last:
            raise ValueError("the last slot ends where the node does")
        # The pivot after the last used one is not always written, but then it is zero or the last stays.
        words = [0, *pivots, *[self.stale if ends[-1] == last else 0] * (n - 1 - len(pivots))]
        words += [*slots, *[self.stale] * (n - len(slots))]
        words += [0] * (32 - len(words))
        address = BASE + 256 * len(self.nodes)
        self.nodes[address] = struct.pack("<32Q", *words[:32])
        return address | kind << 3

    def read(self, where: int, size: int) -> bytes:
        out = b"".join(self.nodes.get(a, b"") for a in range(where & ~255, where + size, 256))
        if len(out) < size:
            raise drgn.FaultError("no node", where)
        return out[:size]

    def kernel(self) -> Any:
        pivots = {"struct maple_range_64": 15, "struct maple_arange_64": 9}

        def type_(name: str) -> Any:
            member = SimpleNamespace(type=SimpleNamespace(length=pivots[name]))
            return SimpleNamespace(member=lambda _: member)

        def offset(name: str, member: str) -> int:
            return 8 if member == "pivot" else 8 + 8 * pivots[name]

        return SimpleNamespace(
            gather=lambda pointers, dtype: gather_rows(self.read, pointers, dtype),
            type=type_,
            offset=offset,
            constant=lambda name: None,
            memo=lambda make: make(SimpleNamespace(type=type_, offset=offset, constant=lambda name: None)),
        )


def build(trees: Trees, entries: list[tuple[int, int, int]], width: int, kind: int) -> int:
    """A tree of (first, last, entry), gaps as NULL slots, *width* slots per node; its root word."""
    spans: list[tuple[int, int]] = []
    at = 0
    for first, last, entry in entries:
        if first > at:
            spans.append((first - 1, 0))
        spans.append((last, entry))
        at = last + 1
    if at <= TOP:
        spans.append((TOP, 0))
    level, node_kind = spans, LEAF
    while True:
        nodes = []
        for start in range(0, len(level), width):
            part = level[start : start + width]
            pointer = trees.node(node_kind, [e for _, e in part], [end for end, _ in part], part[-1][0])
            nodes.append((part[-1][0], pointer))
        if len(nodes) == 1:
            return nodes[0][1] | 2
        level, node_kind = nodes, kind


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=80), min_size=1, max_size=4),
    st.sampled_from([2, 5, 9, 10]),
    st.sampled_from([RANGE, ARANGE]),
    st.sampled_from([0, 0xFFFF888000DEAD00]),
)
@settings(max_examples=100)
def test_all_entries_with_their_ranges(gaps, width, kind, stale):  # type: ignore[no-untyped-def]
    trees, roots, wanted = Trees(stale), [], []
    for number, steps in enumerate(gaps):
        entries, at = [], 0
        for k, (gap, length) in enumerate(steps):
            first = at + gap
            entries.append((first, first + length, 0xFFFF888100000000 + 4096 * number + 8 * k))
            at = first + length + 1
        roots.append(build(trees, entries, width, kind) if entries else 0)
        wanted += [(number, entry, first, last) for first, last, entry in entries]
    found = read_trees(trees.kernel(), np.array(roots, np.uint64))
    columns = (found.tree, found.entry, found.first, found.last)
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == wanted
    assert found.broken == 0


def test_a_tree_that_leads_back_up_ends() -> None:
    trees = Trees(0)
    pointer = trees.node(RANGE, [BASE | RANGE << 3, BASE | RANGE << 3], [10, TOP], TOP)
    found = read_trees(trees.kernel(), np.array([pointer | 2], np.uint64))
    assert len(found.entry) == 0
    assert found.broken > 0


def test_unreadable_and_foreign_nodes_are_counted() -> None:
    trees = Trees(0)
    leaf = trees.node(LEAF, [0xFFFF888100000000], [TOP], TOP)
    root = trees.node(RANGE, [leaf, BASE + 0x100000 | LEAF << 3, leaf | 0x78], [10, 20, TOP], TOP)
    found = read_trees(trees.kernel(), np.array([root | 2], np.uint64))
    assert found.entry.tolist() == [0xFFFF888100000000]
    assert found.broken == 2
