# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pageowner.ownertext.hextext import hex_text


@given(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 15, 16, 0xFFFF, 0x10000, 2**32, 2**48 - 1])))
def test_as_python_formats(values: list[int]) -> None:
    assert hex_text(np.array(values, np.uint64)).to_list() == [f"{v:x}" for v in values]


def test_negative_numbers_are_64_bits_wide() -> None:
    assert hex_text(pl.Series([-1, 1], dtype=pl.Int64)).to_list() == ["f" * 16, "1"]
