# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names that users chose reach the terminal harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageowner.escape import escape, one_line


@pytest.mark.parametrize(
    ("raw", "also", "expected"),
    [
        (b"bash", "", "bash"),
        (b"a\x1b[31mb\n", "", "a\\033[31mb\\012"),
        (b"back\\slash\x7f", "", "back\\134slash\\177"),
        (b"(sd-pam)", "()", "\\050sd-pam\\051"),
        (b"bad\xff\xc3", "", "bad\\377\\303"),
        ("gr\u00fc\u00dfe", "", "gr\u00fc\u00dfe"),
        ("bad\udcff", "", "bad\\377"),
    ],
)
def test_escape(raw: str | bytes, also: str, expected: str) -> None:
    assert escape(raw, also) == expected


@given(st.binary(), st.binary())
def test_different_names_stay_different(a: bytes, b: bytes) -> None:
    assert (escape(a) == escape(b)) == (a == b)
    assert all(c >= " " and c != "\x7f" for c in escape(a))


def test_one_line_leaves_backslashes() -> None:
    assert one_line("C:\\x\n\udc80") == "C:\\x\\012\\200"
