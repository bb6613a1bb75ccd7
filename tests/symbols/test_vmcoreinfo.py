# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import drgn
import pytest
from drgn import Program
from hypothesis import given
from hypothesis import strategies as st

from pageowner.errors import SymbolsError
from pageowner.symbols.vmcoreinfo import parse_vmcoreinfo, read_vmcoreinfo

NOTE = """OSRELEASE=6.12.117
BUILD-ID=3f2a
PAGESIZE=4096
SYMBOL(_stext)=ffffffffb1400000
SYMBOL(mem_section)=ff36b218ffffc000
OFFSET(page.flags)=0
SIZE(page)=64
LENGTH(zone.free_area)=11
NUMBER(phys_base)=-1048576
NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-268435456
NUMBER(VMEMMAP_START)=0xfffffbffefe00000
NUMBER(junk)=zz
KERNELOFFSET=30400000
no equals sign
CRASHTIME=1
"""


def test_every_kind_of_entry() -> None:
    note = parse_vmcoreinfo(NOTE)
    assert note.symbols == {"_stext": 0xFFFFFFFFB1400000, "mem_section": 0xFF36B218FFFFC000}
    assert (note.offsets, note.sizes) == ({"page.flags": 0}, {"page": 64})
    assert note.lengths == {"zone.free_area": 11}
    assert note.numbers["phys_base"] == -1048576
    assert note.numbers["PAGE_BUDDY_MAPCOUNT_VALUE"] == -268435456
    assert note.numbers["VMEMMAP_START"] == 0xFFFFFBFFEFE00000
    assert "junk" not in note.numbers
    assert note.others["OSRELEASE"] == "6.12.117"
    assert note.others["KERNELOFFSET"] == "30400000"


@given(st.text())
def test_any_text_is_a_note(text: str) -> None:
    note = parse_vmcoreinfo(text)
    assert all(isinstance(value, int) for value in note.symbols.values())


def test_a_source_without_a_note() -> None:
    prog = Program(drgn.Platform(drgn.Architecture.X86_64))
    with pytest.raises(SymbolsError, match="no VMCOREINFO") as caught:
        read_vmcoreinfo(prog)
    assert "\n" not in str(caught.value)
