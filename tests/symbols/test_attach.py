# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import drgn
import numpy as np
import pytest
from drgn import Program, SymbolBinding, SymbolKind

from pageowner.errors import PageownerError, SymbolsError
from pageowner.symbols import attach
from pageowner.symbols.attach import read_btf
from pageowner.symbols.kallsyms import Kallsyms
from pageowner.symbols.kallsyms_elf import debug_file_kallsyms
from pageowner.symbols.table import SymbolTable
from tests.symbols.fake_memory import BASE, Memory


def _symbols(**symbols: int) -> SymbolTable:
    return SymbolTable(
        Kallsyms(np.array(list(symbols.values()), np.uint64), list(symbols), b"d" * len(symbols))
    )


def test_a_source_that_is_no_kernel() -> None:
    with pytest.raises(PageownerError, match="no VMCOREINFO") as caught:
        attach(Program(drgn.Platform(drgn.Architecture.X86_64)))
    assert caught.value.exit_code == 1


def test_btf_is_read_from_memory() -> None:
    memory = Memory()
    at = memory.put(b"0123456789")
    assert read_btf(memory.prog, _symbols(__start_BTF=at, __stop_BTF=at + 10)) == b"0123456789"


@pytest.mark.parametrize(
    ("symbols", "says"),
    [
        ({}, "carries no BTF"),
        ({"__start_BTF": BASE}, "carries no BTF"),
        ({"__start_BTF": BASE, "__stop_BTF": BASE}, "no sane size"),
        ({"__start_BTF": BASE, "__stop_BTF": BASE + (1 << 40)}, "no sane size"),
        ({"__start_BTF": BASE, "__stop_BTF": BASE + 64}, "not in this source"),
    ],
)
def test_btf_that_cannot_be_had_is_one_line(symbols: dict[str, int], says: str) -> None:
    with pytest.raises(SymbolsError, match=says) as caught:
        read_btf(Memory().prog, _symbols(**symbols))
    assert "\n" not in str(caught.value)


def test_symbols_of_a_debug_file() -> None:
    prog = Program(drgn.Platform(drgn.Architecture.X86_64))
    assert debug_file_kallsyms(prog) is None
    rows = [
        ("read", 0x1010, SymbolKind.FUNC, SymbolBinding.LOCAL),
        ("_stext", 0x1000, SymbolKind.UNKNOWN, SymbolBinding.GLOBAL),
        ("", 0x1000, SymbolKind.SECTION, SymbolBinding.LOCAL),
        ("main.c", 0, SymbolKind.FILE, SymbolBinding.LOCAL),
        (".LC0", 0x1004, SymbolKind.UNKNOWN, SymbolBinding.LOCAL),
        ("weak", 0x1020, SymbolKind.FUNC, SymbolBinding.WEAK),
    ]
    found = [drgn.Symbol(name, address, 0, binding, kind) for name, address, kind, binding in rows]
    prog.register_symbol_finder("test", lambda *_: found, enable_index=0)
    table = debug_file_kallsyms(prog)
    assert table is not None
    assert (table.names, table.letters) == (["_stext", "read", "weak"], b"Dtw")
