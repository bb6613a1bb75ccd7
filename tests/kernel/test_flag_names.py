# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from pageowner.kernel.flag_names import FlagNames
from pageowner.kernel.gfp import Gfp, read_gfp
from pageowner.kernel.migratetype import MigrateTypes
from pageowner.kernel.page_flags import Field, PageFlags, flag_mask, read_page_flags
from pageowner.ownertext.formats import TextShape
from pageowner.ownertext.tables import TextTables
from pageowner.ownertext.write import flags_text
from pageowner.sources import open_core

MASKS = st.lists(st.integers(1, 2**32 - 1), max_size=12)


@given(MASKS, st.integers(0, 2**64 - 1))
@example([3, 1, 2], 3)
def test_names_part_the_bits(masks: list[int], flags: int) -> None:
    """Every set bit is told once: by the first name that has all its bits, or in the number at the end."""
    table = FlagNames(tuple((mask, f"n{i}") for i, mask in enumerate(masks)))
    left = flags
    for part in filter(None, table.text(flags).split("|")):
        told = int(part, 16) if part.startswith("0x") else masks[int(part[1:])]
        assert told and left & told == told
        left &= ~told
    assert left == 0


def test_an_end_mark_of_mask_zero_is_printed_while_flags_remain() -> None:
    """As the kernel does with a table entry that its configuration emptied."""
    table = FlagNames(((0, "empty"), (1, "one"), (0, "late")))
    assert (table.text(0), table.text(1), table.text(3)) == ("", "empty|one", "empty|one|late|0x2")


def test_gfp_words_of_a_real_kernel(capture: Any) -> None:
    """The same composites in 6.1 and 6.12; GFP_ATOMIC lost a bit between them."""
    gfp = read_gfp(open_core(capture.core))
    assert gfp.text(0) == "0x0()"
    assert gfp.text(0xCC0) == "0xcc0(GFP_KERNEL)"
    assert gfp.text(0x1100CCA | 0x100) == gfp.text(0x1100DCA)
    assert gfp.text(0x140CCA) == "0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP)"
    assert gfp.text(1 << 31) == "0x80000000(0x80000000)"


def test_without_the_table_flags_are_numbers() -> None:
    assert Gfp(FlagNames(())).text(0xCC0) == "0xcc0(0xcc0)"


FIELDS = (Field("node", 58, 6), Field("zone", 56, 2), Field("lastcpupid", 45, 11, 16))
NAMES = FlagNames(((1, "locked"), (4, "uptodate"), (2, "dirty")))


def tables(fields: tuple[Field, ...]) -> TextTables:
    shape = TextShape(frozenset(), True, True)
    return TextTables(shape, Gfp(NAMES), PageFlags(24, NAMES, fields), MigrateTypes((), (), -1, True), 9)


@given(st.lists(st.integers(0, 2**64 - 1)))
@example([0, 1, 1 << 23, 0xFFE00000000000])
def test_page_flags_text(words: list[int]) -> None:
    texts = flags_text(pl.Series(words, dtype=pl.UInt64), tables(FIELDS)).to_list()
    for word, text in zip(words, texts, strict=True):
        named = NAMES.text(word & 0xFFFFFF)
        fields = f"node={word >> 58}|zone={word >> 56 & 3}|lastcpupid=0x{word >> 45 & 0x7FF:x}"
        assert text == f"0x{word:x}({named + '|' if named else ''}{fields})"


def test_5_10_prints_names_only() -> None:
    hidden = tuple(Field(f.name, f.shift, f.width, printed=False) for f in FIELDS)
    texts = flags_text(pl.Series([0, 5 | 1 << 58], dtype=pl.UInt64), tables(hidden))
    assert texts.to_list() == ["0x0()", "0x400000000000005(locked|uptodate)"]


def test_flags_of_a_real_kernel(capture: Any) -> None:
    """What the kernel's own text, /proc/zoneinfo and VMCOREINFO say of fields, nodes and bits."""
    kernel = open_core(capture.core)
    flags = read_page_flags(kernel)
    assert [field.name for field in flags.fields][:2] == ["node", "zone"]
    if capture.has("page_owner.txt"):  # 5.10 prints none
        text = re.search(r" Flags 0x[0-9a-f]+\((.*)\)", capture.text("page_owner.txt"))
        assert text is not None
        assert [field.name for field in flags.printed] == re.findall(r"(\w+)=", text[1])
    nodes = {
        int(line.split()[1].rstrip(","))
        for line in capture.text("zoneinfo.txt").splitlines()
        if line[:5] == "Node "
    }
    words = np.array([n << flags.fields[0].shift for n in sorted(nodes)], np.uint64)
    assert flags.node(words).tolist() == sorted(nodes)
    for name in ("PG_lru", "PG_private", "PG_swapbacked"):
        assert flag_mask(kernel, name) == 1 << (kernel.number(name) or 0)
    # A flag until 6.9, a page type since.
    assert bool(flag_mask(kernel, "PG_slab")) == (flags.names.mask("slab") != 0)
