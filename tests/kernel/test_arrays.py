# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arrays and trees of many owners, on memory that we make up."""

from __future__ import annotations

from typing import Any

import drgn
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pageowner.kernel.arrays import gather_narrow, gather_words, walk_trees
from pageowner.kernel.gather import gather_rows

BASE = 0xFFFF_8880_0000_0000
SIZE = 1 << 16


class Memory:
    """As much of a Kernel as these readers use: a piece of memory at BASE, the rest faults."""

    def __init__(self) -> None:
        self.data = bytearray(SIZE)

    def put(self, address: int, *words: int) -> None:
        at = address - BASE
        self.data[at : at + 8 * len(words)] = b"".join(word.to_bytes(8, "little") for word in words)

    def read(self, address: int, size: int) -> bytes:
        at = address - BASE
        if not 0 <= at <= SIZE - size:
            raise drgn.FaultError("no memory", address)
        return bytes(self.data[at : at + size])

    def gather(self, pointers: Any, dtype: Any) -> Any:
        return gather_rows(self.read, np.asarray(pointers, np.uint64), dtype)

    def dtype(self, name: str, fields: dict[str, str]) -> np.dtype[Any]:
        assert name == "struct rb_node" and list(fields) == ["left", "right"]
        spec = {"names": ["left", "right"], "formats": ["<u8"] * 2, "offsets": [16, 8], "itemsize": 24}
        return np.dtype(spec)


@given(st.lists(st.lists(st.integers(0, 3), max_size=9), max_size=12))
def test_words_of_arrays(arrays: list[list[int]]) -> None:
    """Every word that is not zero, with its array and its place, whatever the lengths."""
    memory, addresses, at = Memory(), [], BASE
    for words in arrays:
        addresses.append(at)
        memory.put(at, *words)
        at += 8 * len(words) + 40
    counts = np.array([len(words) for words in arrays], np.uint32)
    owner, place, word = gather_words(memory, np.array(addresses, np.uint64), counts)
    got = {(int(o), int(p)): int(w) for o, p, w in zip(owner, place, word, strict=True)}
    assert got == {(o, p): w for o, words in enumerate(arrays) for p, w in enumerate(words) if w}


def test_impossible_and_unreadable_arrays_are_left_out() -> None:
    memory = Memory()
    memory.put(BASE, 7, 8)
    addresses = np.array([BASE, BASE, BASE + SIZE, 0, BASE], np.uint64)
    owner, _, word = gather_words(memory, addresses, np.array([2, 1 << 60, 2, 2, -1], np.int64))
    assert owner.tolist() == [0, 0] and word.tolist() == [7, 8]


@given(st.lists(st.lists(st.integers(), max_size=40, unique=True), max_size=5))
def test_every_node_of_every_tree(keys: list[list[int]]) -> None:
    memory, roots, wanted, at = Memory(), [], set(), BASE
    for tree, values in enumerate(keys):
        places: dict[int, int] = {}
        for value in values:  # an unbalanced tree is as good
            places[value] = at
            wanted.add((tree, at))
            at += 24
            here = next(iter(places))
            while here != value:
                step = places[here] + (16 if value < here else 8)
                child = int.from_bytes(memory.read(step, 8), "little")
                if not child:
                    memory.put(step, places[value])
                    break
                here = next(v for v, place in places.items() if place == child)
        roots.append(next(iter(places.values()), 0))
    owner, node = walk_trees(memory, np.array(roots, np.uint64))
    assert set(zip(owner.tolist(), node.tolist(), strict=True)) == wanted
    assert len(node) == len(wanted)


def test_a_tree_with_a_loop_ends() -> None:
    memory = Memory()
    memory.put(BASE, 0, BASE + 24, BASE)  # right: the next; left: itself
    memory.put(BASE + 24, 0, BASE, 0xDEAD000000000100)
    owner, node = walk_trees(memory, np.array([BASE, 0], np.uint64))
    assert sorted(node.tolist()) == [BASE, BASE + 24] and owner.tolist() == [0, 0]


def test_narrow_rows_are_the_same_rows() -> None:
    memory = Memory()
    memory.put(BASE + 64, *range(1, 33))
    spec = {"names": ["b", "a"], "formats": ["<u4", "<u8"], "offsets": [40, 16], "itemsize": 128}
    dtype = np.dtype(spec)
    pointers = np.array([BASE + 64, 0, BASE + 128, BASE + SIZE - 8], np.uint64)
    rows, ok = gather_narrow(memory, pointers, dtype)
    wide, wide_ok = memory.gather(pointers, dtype)
    assert ok.tolist() == wide_ok.tolist() == [True, False, True, False]
    assert rows["a"].tolist() == wide["a"].tolist() == [3, 0, 11, 0]
    assert rows["b"].tolist() == wide["b"].tolist() == [6, 0, 14, 0]
    assert rows.dtype.itemsize == 28
