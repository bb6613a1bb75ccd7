# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernels whose VMCOREINFO does not say where kallsyms is."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from drgn import Program

from pageowner.errors import SymbolsError
from pageowner.symbols.kallsyms import load_kallsyms
from pageowner.symbols.kallsyms_text import parse_kallsyms
from pageowner.symbols.vmcoreinfo import Vmcoreinfo
from tests.symbols.fake_memory import BASE, Memory

PAGE = 4096


def _padded(data: bytes, to: int = 8) -> bytes:
    return data + bytes(-len(data) % to)


def _image(names: list[str], decoy: bytes = b"") -> bytes:
    """The tables as up to 6.3, between other data; symbol n lies at BASE + 16 * n."""
    tokens = [chr(n) if 32 < n < 127 else f"~{n}" for n in range(256)]
    table = b"".join(token.encode() + b"\0" for token in tokens)
    index = np.cumsum([0, *(len(token) + 1 for token in tokens)])[:256].astype("<u2").tobytes()
    packed = [bytes([len(name) + 1]) + b"T" + name.encode() for name in names]
    marks = [sum(map(len, packed[:at])) for at in range(0, len(packed), 256)]
    offsets = np.arange(len(names)) * -16 - 1
    parts = [
        b"junk" * 100,
        decoy,
        offsets.astype("<i4").tobytes(),
        struct.pack("<QQ", BASE, len(names)),
        b"".join(packed),
        struct.pack(f"<{len(marks)}I", *marks),
        table,
        index,
        b"more",
    ]
    return b"".join(map(_padded, parts))


def _program(image: bytes, at: int = 0) -> Program:
    memory = Memory()
    memory.put(_padded(bytes(at) + image, PAGE))
    return memory.prog


NOTE = Vmcoreinfo(symbols={"_stext": BASE})


@pytest.mark.parametrize("count", [257, 600, 1024, 1100])
@pytest.mark.parametrize("at", [0, (1 << 20) - 2048])
def test_tables_are_found_in_the_image(count: int, at: int) -> None:
    names = ["_stext", *(f"function_{n}" for n in range(1, count))]
    table = load_kallsyms(_program(_image(names), at), NOTE)
    assert table.names == names
    assert table.addresses.tolist() == [BASE + 16 * n for n in range(count)]
    assert table.letters == b"T" * count


def test_other_lists_of_digits_are_passed_over() -> None:
    names = ["_stext", *(f"function_{n}" for n in range(1, 700))]
    decoy = b"".join(bytes([digit, 0]) for digit in b"0123456789") * 3
    assert load_kallsyms(_program(_image(names, decoy)), NOTE).names == names


@pytest.mark.parametrize(
    "image", [b"junk" * 5000, _image(["_stext"] * 700)[:6000], b"0\x001\x002\x003\x004\x00" * 99]
)
def test_an_image_without_tables_is_one_line(image: bytes) -> None:
    with pytest.raises(SymbolsError, match="-s VMLINUX") as caught:
        load_kallsyms(_program(image), NOTE)
    assert "\n" not in str(caught.value)


MAP = """0000000000000100 A percpu_word
ffffffff81000000 T _stext
ffffffff81000040 t read
ffffffff82000000 B _end
ffffffffc0000000 t zs_malloc\t[zsmalloc]
"""


def test_a_saved_kallsyms_is_taken_as_it_is() -> None:
    table = parse_kallsyms(MAP, 0xFFFFFFFF81000000)
    assert table.names == ["percpu_word", "_stext", "read", "_end"]
    assert table.letters == b"ATtB"
    assert table.addresses.tolist() == [0x100, 0xFFFFFFFF81000000, 0xFFFFFFFF81000040, 0xFFFFFFFF82000000]
    assert parse_kallsyms(MAP, 0).addresses.tolist() == table.addresses.tolist()


@pytest.mark.parametrize("shift", [0x1E000000, -0x1000000])
def test_a_system_map_is_moved_as_kaslr_moved_the_kernel(shift: int) -> None:
    table = parse_kallsyms(MAP, 0xFFFFFFFF81000000 + shift)
    assert table.addresses[0] == 0x100
    assert table.addresses[2] == 0xFFFFFFFF81000040 + shift


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no symbol"),
        ("hello\n", "no symbol"),
        ("0000000000000000 T _stext\n", "zero"),
        ("ffffffff81000000 T start\n", "no _stext"),
    ],
)
def test_a_file_that_is_no_kallsyms_is_one_line(text: str, says: str) -> None:
    with pytest.raises(SymbolsError, match=says) as caught:
        parse_kallsyms(text, 0xFFFFFFFF81000000)
    assert "\n" not in str(caught.value)
