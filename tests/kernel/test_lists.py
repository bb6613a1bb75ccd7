# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists of the target are followed to their end, and no further when they have none."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import drgn
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pageowner.kernel.gather import gather_rows
from pageowner.kernel.lists import walk_chains, walk_lists

BASE = 0xFFFF888000000000


class Links:
    """A kernel that has nothing but pointers: node i is 16 bytes at BASE + 16 i."""

    def __init__(self, to: dict[int, int | None]) -> None:
        self.to = {address(node): address(target) if target is not None else 0 for node, target in to.items()}
        self.reads = 0

    def read(self, where: int, size: int) -> bytes:
        self.reads += 1
        out = b""
        for word in range(where, where + size, 8):
            if word % 16 == 0 and word not in self.to:
                raise drgn.FaultError("nothing there", word)
            out += struct.pack("<Q", self.to.get(word, 0))
        return out

    def gather(self, pointers: Any, dtype: Any) -> Any:
        return gather_rows(self.read, pointers, dtype)


def address(node: int) -> int:
    return BASE + 16 * node


def kernel(links: dict[int, int | None]) -> Any:
    fake = Links(links)
    return SimpleNamespace(read=fake.read, gather=fake.gather, links=fake, live=False)


def heads(*nodes: int) -> Any:
    return np.array([address(node) for node in nodes], np.uint64)


def ring(*nodes: int) -> dict[int, int | None]:
    return dict(zip(nodes, [*nodes[1:], nodes[0]], strict=True))


@given(st.lists(st.integers(0, 12), max_size=80))
def test_every_element_of_every_list_in_order(lengths: list[int]) -> None:
    links: dict[int, int | None] = {}
    first = []
    wanted = []
    for number, length in enumerate(lengths):
        nodes = [1000 * number + k for k in range(length + 1)]
        links |= ring(*nodes)
        first.append(nodes[0])
        wanted += [(number, address(node)) for node in nodes[1:]]
    walk = walk_lists(kernel(links), heads(*first))
    assert list(zip(walk.owner.tolist(), walk.node.tolist(), strict=True)) == wanted
    assert walk.broken == 0


def test_a_loop_that_misses_the_head_ends() -> None:
    links = ring(0, 1, 2) | {10: 11, 11: 12, 12: 13, 13: 14, 14: 12}
    target = kernel(links)
    walk = walk_lists(target, heads(0, 10))
    assert walk.broken == 1
    assert walk.node[walk.owner == 0].tolist() == heads(1, 2).tolist()
    assert walk.node[walk.owner == 1].tolist() == heads(11, 12, 13, 14).tolist()
    assert target.links.reads < 30


def test_an_unreadable_element_ends_its_list_only() -> None:
    walk = walk_lists(kernel(ring(0, 1, 2) | {10: 11, 11: 99}), heads(0, 10))
    assert walk.broken == 1
    assert walk.node.tolist() == heads(1, 2, 11, 99).tolist()


def test_chains_end_at_null() -> None:
    walk = walk_chains(kernel({0: 1, 1: None, 5: None}), np.append(heads(0, 5), np.uint64(0)), 0)
    assert walk.owner.tolist() == [0, 0, 1]
    assert walk.node.tolist() == heads(0, 1, 5).tolist()
    assert walk.broken == 0


def test_no_more_elements_than_the_limit() -> None:
    walk = walk_lists(kernel(ring(*range(100))), heads(0), limit=10)
    assert len(walk.node) == 10
    assert walk.broken == 1
