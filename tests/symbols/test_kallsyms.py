# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import re

import drgn
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageowner.errors import SymbolsError
from pageowner.symbols.kallsyms import RawKallsyms, expand, load_kallsyms, meanings
from pageowner.symbols.vmcoreinfo import Vmcoreinfo
from tests.symbols.fake_memory import Memory

# Byte n stands for itself but these, which stand for pieces of names as the kernel's build chooses them.
PIECES = {0x80: "_page", 0x81: "alloc", 0x82: "Tsys_", 0x83: "free"}
TOKENS = [PIECES.get(n, chr(n) if 32 < n < 127 else "") for n in range(256)]


def _compress(name: str) -> list[int]:
    pieces = "|".join(PIECES.values())
    by_text = {text: n for n, text in PIECES.items()}
    return [by_text.get(part) or ord(part) for part in re.findall(f"{pieces}|.", name)]


def _names(symbols: list[str]) -> bytes:
    out = b""
    for symbol in symbols:
        data = bytes(_compress(symbol))
        size = len(data)
        out += bytes([size] if size < 0x80 else [size & 0x7F | 0x80, size >> 7]) + data
    return out


def _token_tables() -> tuple[bytes, npt.NDArray[np.uint16]]:
    starts, table = [], b""
    for token in TOKENS:
        starts.append(len(table))
        table += token.encode() + b"\0"
    return table, np.array(starts, np.uint16)


def _raw(symbols: list[str], addresses: list[int], names: bytes | None = None) -> RawKallsyms:
    table, index = _token_tables()
    packed = _names(symbols) if names is None else names
    return RawKallsyms(len(symbols), packed, table, index, lambda: [np.array(addresses, np.uint64)])


def test_names_are_expanded_and_their_letters_split_off() -> None:
    table = expand(_raw(["Talloc_page", "tfree_page", "Tsys_read", "D_x"], [16, 32, 32, 64]), 0)
    assert table.names == ["alloc_page", "free_page", "sys_read", "_x"]
    assert table.letters == b"TtTD"
    assert table.addresses.tolist() == [16, 32, 32, 64]


def test_a_long_name_has_a_length_of_two_bytes() -> None:
    long = "T" + "x" * 300
    assert expand(_raw(["Ta", long, "Tb"], [1, 2, 3]), 0).names == ["a", "x" * 300, "b"]


def test_symbols_out_of_order_are_sorted_and_aliases_keep_theirs() -> None:
    table = expand(_raw(["Tc", "Ta1", "Da2", "Tb"], [30, 10, 10, 20]), 0)
    assert table.names == ["a1", "a2", "b", "c"]
    assert table.letters == b"TDTT"


def test_stext_chooses_what_the_offsets_mean() -> None:
    table, index = _token_tables()
    symbols = ["Acpu", "T_stext", "T_end"]
    base = 0xFFFFFFFF81000000
    offsets = np.array([0x100, -1, -0x1001], np.int32)
    raw = RawKallsyms(3, _names(symbols), table, index, lambda: meanings(offsets, 0, base))
    assert expand(raw, base).addresses.tolist() == [0x100, base, base + 0x1000]
    offsets = np.array([0, 0x1000, 0x2000], np.int32)
    assert expand(raw, base + 0x1000).addresses.tolist() == [base, base + 0x1000, base + 0x2000]
    with pytest.raises(SymbolsError, match="_stext"):
        expand(raw, 0x1234)


def test_offsets_relative_to_their_own_place() -> None:
    at = 0xFFFFFFFF82000000
    found = meanings(np.array([-0x1000000, -0x1000000 + 0xFFC], np.int32), at, None)
    assert [one.tolist() for one in found] == [[0xFFFFFFFF81000000, 0xFFFFFFFF81001000]]


def test_offsets_above_2_gib_are_unsigned() -> None:
    _, plain = meanings(np.array([-1], np.int32), 0, 0x1000)
    assert plain.tolist() == [0x1000 + 0xFFFFFFFF]


@pytest.mark.parametrize(
    "names",
    [
        b"",
        b"\x02Ta",  # the second name is cut off
        b"\x02Ta\x05Tb",
        b"\x02Ta\x00",  # a name of no tokens
        b"\x02Ta\x01\x01",  # a token of no letters
        b"\x02Ta\xff",  # a length without its second byte
    ],
)
def test_damaged_names_are_one_line(names: bytes) -> None:
    with pytest.raises(SymbolsError, match="corrupt") as caught:
        expand(_raw(["Ta", "Tb"], [1, 2], names), 0)
    assert "\n" not in str(caught.value)


@given(st.binary(min_size=0, max_size=40))
def test_any_bytes_give_names_or_one_error(names: bytes) -> None:
    try:
        table = expand(_raw(["Ta", "Tb", "Tc"], [1, 2, 3], names), 0)
    except SymbolsError:
        return
    assert len(table.names) == len(table.letters) == 3


def _note(memory: Memory, symbols: list[str], addresses: list[int]) -> Vmcoreinfo:
    """The tables in memory, in the order that the kernel's build writes them."""
    base = addresses[0]
    offsets = np.array([address - base for address in addresses], "<i4")
    where = {"kallsyms_offsets": memory.put(offsets.tobytes())}
    where["kallsyms_relative_base"] = memory.words(base)
    where["kallsyms_num_syms"] = memory.words(len(symbols))
    where["kallsyms_names"] = memory.put(_names(symbols))
    table, index = _token_tables()
    where["kallsyms_token_table"] = memory.put(table)
    where["kallsyms_token_index"] = memory.put(index.tobytes())
    where["_stext"] = addresses[symbols.index("T_stext")]
    return Vmcoreinfo(symbols=where)


def test_tables_are_read_from_memory() -> None:
    memory = Memory()
    note = _note(memory, ["T_stext", "Talloc_page", "D_end"], [0x1000, 0x1100, 0x2000])
    table = load_kallsyms(memory.prog, note)
    assert table.names == ["_stext", "alloc_page", "_end"]
    assert table.addresses.tolist() == [0x1000, 0x1100, 0x2000]


def test_a_table_that_is_not_in_the_dump() -> None:
    memory = Memory()
    note = _note(memory, ["T_stext"], [0x1000])
    note.symbols["kallsyms_num_syms"] = 0x10
    with pytest.raises(SymbolsError, match="corrupt or cut off") as caught:
        load_kallsyms(memory.prog, note)
    assert isinstance(caught.value.__cause__, drgn.FaultError)


@pytest.mark.parametrize("count", [0, 1 << 31])
def test_a_count_that_no_kernel_has(count: int) -> None:
    memory = Memory()
    note = _note(memory, ["T_stext"], [0x1000])
    memory.patch(note.symbols["kallsyms_num_syms"], count)
    with pytest.raises(SymbolsError, match="corrupt"):
        load_kallsyms(memory.prog, note)


@pytest.mark.parametrize("gone", ["names", "num_syms", "token_table", "token_index", "offsets"])
def test_vmcoreinfo_that_does_not_say_where(gone: str) -> None:
    memory = Memory()
    note = _note(memory, ["T_stext"], [0x1000])
    del note.symbols[f"kallsyms_{gone}"]
    with pytest.raises(SymbolsError, match="-s VMLINUX") as caught:
        load_kallsyms(memory.prog, note)
    assert "\n" not in str(caught.value)
