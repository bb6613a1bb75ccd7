# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which records are shown: the kernel's walk, written out page by page, against ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Pages
from pageowner.kernel.page_ext import PAGE_EXT_INVALID, PageExt, flatmem_word
from pageowner.kernel.page_owner import NoRecords, PageOwner, Records, read_page_owner
from pageowner.kernel.record_table import comm_text
from pageowner.kernel.sections import EARLY, Section
from pageowner.kernel.target import Kernel
from pageowner.rawtext import to_bytes

N = 64
ROW = np.dtype([("ext_flags", "<u8"), ("order", "<u2"), ("handle", "<u4"), ("free_handle", "<u4")])


@dataclass
class Memory:
    """A kernel that only has memory."""

    data: dict[int, bytes] = field(default_factory=dict)

    def read_pieces(self, address: int, size: int) -> tuple[bytearray, npt.NDArray[np.bool_]]:
        pages = ((address + size - 1) >> 12) - (address >> 12) + 1
        return bytearray(self.data[address][:size]), np.ones(pages, np.bool_)


def section(start: int = 0, page_ext: int = 8) -> Section:
    return Section(0, start, N, 0, 0, page_ext, EARLY)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[npt.NDArray[Any], list[int]]:
    """Random records, and the order of the free block that begins at each page, -1 for none."""
    rows = np.zeros(N, ROW)
    for name, values in (
        ("ext_flags", st.integers(0, 3)),
        ("order", st.integers(0, 4)),
        ("handle", st.integers(0, 2)),
    ):
        rows[name] = draw(st.lists(values, min_size=N, max_size=N))
    buddy, pfn = [-1] * N, 0
    while pfn < N:
        order = draw(st.integers(-3, 4))
        if order >= 0 and pfn % (1 << order) == 0:
            buddy[pfn] = order
            pfn += 1 << order
        else:
            pfn += 1
    return rows, buddy


def walk(rows: npt.NDArray[Any], buddy: list[int], first: int, end: int) -> list[int]:
    """read_page_owner(), one page after the other."""
    shown, pfn = [], first
    while pfn < end:
        row = rows[pfn]
        if buddy[pfn] >= 0:
            pfn += 1 << buddy[pfn]
            continue
        if (
            row["ext_flags"] & 1
            and row["ext_flags"] & 2
            and pfn % (1 << int(row["order"])) == 0
            and row["handle"]
        ):
            shown.append(pfn)
        pfn += 1
    return shown


def pages_of(buddy: list[int], owned: Section) -> Pages:
    """As :func:`read_pages` would resolve them: one unit per page or free block."""
    head, types, pfn = np.zeros(N, np.int32), [], 0
    while pfn < N:
        size = 1 << max(buddy[pfn], 0)
        head[pfn : pfn + size] = len(types)
        types.append(page_type.BUDDY if buddy[pfn] >= 0 else page_type.NONE)
        pfn += size
    heads = SimpleNamespace(type=np.array(types, np.uint8))
    found = SimpleNamespace(
        section=owned, heads=heads, head=head, valid=np.ones(N, np.bool_), pfn=np.arange(N, dtype=np.int64)
    )
    return cast(Pages, found)


@given(worlds(), st.sampled_from([(0, N), (0, 40)]))
def test_visible_is_what_the_kernel_would_print(
    world: tuple[npt.NDArray[Any], list[int]], ends: tuple[int, int]
) -> None:
    rows, buddy = world
    owner = PageOwner(PageExt(cast(Kernel, Memory()), 64), ROW, *ends, block_pages=16)
    records = Records(section(), rows, np.ones(N, np.bool_))
    assert owner.visible(records, pages_of(buddy, section())).tolist() == walk(rows, buddy, *ends)


def test_unreadable_records_are_not_shown() -> None:
    rows = np.zeros(N, ROW)
    rows["ext_flags"], rows["handle"] = 3, 1
    readable = np.arange(N) < 3
    owner = PageOwner(PageExt(cast(Kernel, Memory()), 64), ROW, 0, N, block_pages=16)
    shown = owner.visible(Records(section(), rows, readable), pages_of([-1] * N, section()))
    assert shown.tolist() == [0, 1, 2]


def test_an_absurd_order_shows_nothing() -> None:
    """A torn record must not shift by 65535 bits."""
    rows = np.zeros(N, ROW)
    rows["ext_flags"], rows["handle"], rows["order"] = 3, 1, 0xFFFF
    records = Records(section(start=N), rows, np.ones(N, np.bool_))
    assert not records.aligned.any()


@given(st.integers(0, 1 << 20), st.sampled_from([24, 64, 72]))
def test_page_ext_tables_are_biased(nr: int, size: int) -> None:
    table, start = 0xFF11_0000_1234_5000, nr * N
    word = (table - size * start) % (1 << 64)
    ext = PageExt(cast(Kernel, Memory({table: bytes(range(size)) * N})), size)
    read = ext.read(Section(nr, start, N, 0, 0, word, EARLY))
    assert read is not None and read[1].all()
    assert read[0].shape == (N, size) and read[0][5].tolist() == list(range(size))
    assert ext.address(word, start + 5) == table + 5 * size


def test_a_section_without_page_ext_has_no_records() -> None:
    ext = PageExt(cast(Kernel, Memory()), 64)
    assert ext.read(section(page_ext=0)) is None
    assert ext.read(section(page_ext=0xFF11_0000_1234_5000 | PAGE_EXT_INVALID)) is None


def test_a_flatmem_node_is_read_like_a_section() -> None:
    lengths = SimpleNamespace(lengths={"zone.free_area": 11})
    kernel = cast(Kernel, SimpleNamespace(vmcoreinfo=lengths))
    word = flatmem_word(kernel, 0xFF11_0000_0000_0000, 1025, 64)
    assert PageExt(kernel, 64).address(word, 1025) == 0xFF11_0000_0000_0000 + 64


@given(st.lists(st.binary(max_size=16)))
def test_comm_ends_at_its_first_nul(names: list[bytes]) -> None:
    found = comm_text(np.array(names, "S16"))
    assert [to_bytes(text) for text in found.to_list()] == [name.split(b"\0")[0] for name in names]


class Bare:
    """A kernel in which nothing is found, or page_owner is off."""

    def __init__(self, enabled: int | None) -> None:
        self.enabled = enabled

    def object(self, name: str) -> Any:
        if self.enabled is None or name != "page_owner_inited":
            raise LookupError(name)
        return SimpleNamespace(key=SimpleNamespace(enabled=SimpleNamespace(counter=self.enabled)))


def test_why_there_are_no_records() -> None:
    off, absent = (read_page_owner(cast(Kernel, Bare(enabled))) for enabled in (0, None))
    assert isinstance(off, NoRecords) and "page_owner=on" in off.reason
    assert isinstance(absent, NoRecords) and "CONFIG_PAGE_OWNER" in absent.reason
