# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's words and ours, each made once per capture."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ownertext.kernel_words import Ours, Words, read_core, take_apart


@pytest.fixture(scope="session")
def ours(capture: Any) -> Ours:
    if not capture.has("page_owner.txt"):
        pytest.skip("this kernel ran without page_owner, or its own text would have crashed it")
    return read_core(capture.core)


@pytest.fixture(scope="session")
def our_words(ours: Ours) -> dict[tuple[int, int], Words]:
    return take_apart(ours.text)


@pytest.fixture(scope="session")
def kernel_words(ours: Ours, capture: Any) -> dict[tuple[int, int], Words]:
    return take_apart(capture.read("page_owner.txt"))
