# SPDX-License-Identifier: LGPL-2.1-or-later
"""The forms in which a page can be named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageowner.commands import main
from pageowner.snapshot.page_name import PageName, parse_page

U64 = st.integers(0, (1 << 64) - 1)


@given(U64, st.sampled_from(["phys", "virt", "page"]), st.integers(0, 1 << 22))
def test_every_form(number: int, kind: str, pid: int) -> None:
    for text in (str(number), hex(number), f"0X{number:X}"):
        assert parse_page(text) == PageName("pfn", number)
        assert parse_page(f"{kind}:{text}") == PageName(kind, number)
        assert parse_page(f"{pid}:{text}") == PageName("user", number, pid)


@pytest.mark.parametrize(
    "text",
    ["", "x", "0x", "-1", "+1", "1_0", " 1", "1 ", "1.5", ":1", "phys:", "phys:x", "phys", "Phys:1",
     "0x1:0x2", "1:2:3", "-1:0x2", "pid:1", "0x10000000000000000", "\u0661"],
)  # fmt: skip
def test_what_names_no_page(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="names no page; write a PFN"):
        parse_page(text)
    assert main(["explain", "--", text, "core"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pageowner: error: argument PAGE: ") and error.count("\n") == 1
    for form in ("0x1a2b3", "phys:0x…", "virt:0x…", "PID:0x…", "page:0x…"):
        assert form in error
