# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys keep their numbers, however many portions they come in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pageowner.kernel.key_index import KeyIndex


@given(st.lists(st.integers(0, (1 << 64) - 1), unique=True), st.lists(st.integers(1, 5)))
def test_portions(keys: list[int], sizes: list[int]) -> None:
    index, done = KeyIndex(), 0
    for size in [*sizes, len(keys)]:
        portion = keys[done : done + size]
        assert (index.find(np.array(portion, np.uint64)) == -1).all()
        index.add(np.array(portion, np.uint64))
        done += len(portion)
        assert len(index) == done
        assert index.find(np.array(keys[:done], np.uint64)).tolist() == list(range(done))


def test_a_million_in_thousands_of_portions() -> None:
    index = KeyIndex()
    keys = np.random.default_rng(1).permutation(200_000).astype(np.uint64)
    for portion in np.array_split(keys, 2000):
        index.add(portion)
    assert len(index._levels) < 20
    assert (index.find(keys) == np.arange(len(keys))).all()
