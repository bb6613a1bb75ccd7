# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from pageowner.rawtext import carry, escape_carried, joined_bytes, to_bytes, visible_lines


@given(st.lists(st.binary(max_size=20)))
@example(["\U0010ff80\U0010ffff".encode(), b"\xf4\x8f\xbe", b"\x80", b"\xf4\x8f\xbe\x80\x80"])
def test_what_is_carried_comes_back(names: list[bytes]) -> None:
    series = pl.Series([carry(name) for name in names], dtype=pl.String)
    assert [to_bytes(text) for text in series.to_list()] == names
    assert joined_bytes(series, "\n") == b"\n".join(names)


@given(st.text(max_size=20))
def test_text_stays_itself_unless_it_looks_carried(text: str) -> None:
    if not any(c >= "\U0010ff80" for c in text):
        assert carry(text.encode()) == text


def test_surrogate_escapes_are_bytes() -> None:
    assert to_bytes(carry("a\udcff")) == b"a\xff"


def test_a_terminal_sees_octal() -> None:
    assert escape_carried(carry(b"a\xff\x1b(b)"), "()") == r"a\377\033\050b\051"


def test_lines_for_a_terminal_stay_lines() -> None:
    texts = pl.Series(["Charged to memcg \x1b[2J\n a+0x1/0x2\n", "", None])
    assert visible_lines(texts).to_list() == ["Charged to memcg \\033[2J\n a+0x1/0x2\n", "", None]
