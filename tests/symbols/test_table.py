# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import drgn
import numpy as np
import pytest
from drgn import Program, SymbolKind
from hypothesis import given
from hypothesis import strategies as st

from pageowner.symbols.kallsyms import Kallsyms
from pageowner.symbols.regions import Others, Region
from pageowner.symbols.table import SymbolTable

CORE = [
    (0x100, "A", "percpu_thing"),
    (0x1000, "T", "_stext"),
    (0x1000, "T", "_text"),
    (0x1010, "t", "read"),
    (0x1010, "T", "__do_read"),
    (0x1040, "t", "write"),
    (0x1900, "t", "modules"),
    (0x1980, "T", "_etext"),
    (0x1A00, "T", "modules"),  # data: 7.2 has T for some
    (0x1A08, "d", "modules"),
    (0x2000, "B", "_end"),
    (0x2100, "B", "behind"),
]


def _kallsyms(rows: list[tuple[int, str, str]]) -> Kallsyms:
    addresses = np.array([address for address, _, _ in rows], np.uint64)
    return Kallsyms(addresses, [name for *_, name in rows], "".join(letter for _, letter, _ in rows).encode())


def _others() -> Others:
    values = np.array([0x9000, 0x9020, 0x9020, 0xA000], np.uint64)
    names = ["init_module", "zs_malloc", "alias", "zs_data"]
    return Others(
        [
            [
                Region(0x9000, 0x9800, values, names, b"tttd", "zsmalloc"),
                Region(0xA000, 0xA100, values, names, b"tttd", "zsmalloc"),
            ],
            [Region(0xB000, 0xB040, np.array([0xB000], np.uint64), ["bpf_prog_1"], b"t")],
            [Region(0x9800, 0x9820, np.array([0x9800], np.uint64), ["freed_init"], b"t", "ext4")],
        ],
        ["a note"],
    )


def _table(rows: list[tuple[int, str, str]] = CORE) -> SymbolTable:
    return SymbolTable(_kallsyms(rows), _others)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (0x1000, "_stext+0x0/0x10"),
        (0x1017, "read+0x7/0x30"),  # the first of the aliases, to the next address that differs
        (0x17FF, "write+0x7bf/0x8c0"),
        (0x1FFF, "modules+0x5f7/0x5f8"),  # the last before _end
        (0x2000, "0x2000"),
        (0x0FFF, "0xfff"),
        (0x100, "0x100"),  # a per-CPU offset is no kernel address
        (0x9021, "zs_malloc+0x1/0x7e0 [zsmalloc]"),  # to the end of the module's text, not to its data
        (0xA00F, "zs_data+0xf/0x100 [zsmalloc]"),
        (0xB03F, "bpf_prog_1+0x3f/0x40"),  # BPF programs have no suffix
        (0xB040, "0xb040"),
        (0x9810, "freed_init+0x10/0x20 [ext4]"),
        (0xFFFFFFFFFFFFFFFF, "0xffffffffffffffff"),
    ],
)
def test_text_is_the_kernels(address: int, text: str) -> None:
    assert _table().symbolize(np.array([address], np.uint64)) == [text]


def test_many_addresses_at_once_keep_their_order() -> None:
    addresses = np.array([0x9021, 0x1017, 0x9021, 0x5, 0x1000], np.uint64)
    texts = _table().symbolize(addresses)
    assert texts == [_table().symbolize(np.array([a]))[0] for a in addresses]
    assert _table().symbolize(np.empty(0, np.uint64)) == []


@given(st.lists(st.integers(0, 0x40), min_size=1, max_size=12), st.lists(st.integers(0, 0x50), max_size=12))
def test_the_rule_holds_for_any_table(values: list[int], wanted: list[int]) -> None:
    values.sort()
    rows = [(0x1000, "T", "_stext"), *((0x1000 + v, "t", f"f{i}") for i, v in enumerate(values))]
    rows += [(0x1041, "B", "_end")]
    texts = _table(rows).symbolize(np.array(wanted, np.uint64) + np.uint64(0x1000))
    for offset, text in zip(wanted, texts, strict=True):
        address = 0x1000 + offset
        if address >= 0x1041:
            assert text == f"0x{address:x}"
            continue
        start = max(row[0] for row in rows if row[0] <= address)
        name = next(name for at, _, name in rows if at == start)
        end = min(row[0] for row in rows if row[0] > start)
        assert text == f"{name}+0x{address - start:x}/0x{end - start:x}"


def test_without_kallsyms_all_only_text_has_names() -> None:
    rows = [row for row in CORE if row[2] not in ("_end", "behind", "modules")]
    rows += [(0x3000, "t", "_sinittext"), (0x3010, "t", "start"), (0x3020, "t", "_einittext")]
    texts = _table(rows).symbolize(np.array([0x1041, 0x1981, 0x3011, 0x3020], np.uint64))
    assert texts == ["write+0x1/0x940", "0x1981", "start+0x1/0x10", "0x3020"]


def test_other_symbols_are_read_only_when_needed() -> None:
    def load() -> Others:
        raise AssertionError("not needed")

    table = SymbolTable(_kallsyms(CORE), load)
    assert table.lookup("read") == 0x1010
    assert table.symbolize(np.array([0x1010], np.uint64)) == ["read+0x0/0x30"]
    assert table.name_at(0x1010) == "read"
    assert "modules" in table and "nope" not in table


def test_lookup() -> None:
    table = _table()
    assert table.lookup("__do_read") == 0x1010
    assert table.lookup("percpu_thing") == 0x100
    assert table.lookup("modules") == 0x1900
    assert table.lookup("zs_malloc") == 0x9020
    assert table.lookup("bpf_prog_1") == 0xB000
    with pytest.raises(KeyError, match="nope"):
        table.lookup("nope")


def test_a_variable_is_not_a_function_of_its_name() -> None:
    table = _table()
    assert table.lookup_data("modules") == 0x1A00
    assert table.lookup_data("percpu_thing") == 0x100
    for name in ("read", "zs_malloc", "nope"):
        with pytest.raises(KeyError):
            table.lookup_data(name)


def test_names_and_modules_of_addresses() -> None:
    table = _table()
    assert table.name_at(0x1A00) == "modules"
    assert table.name_at(0x1A01) is None
    assert table.name_at(0x9000) == "init_module"
    assert table.module_at(0x90FF) == "zsmalloc"
    assert table.module_at(0xB000) is None
    assert table.module_at(0x1000) is None
    assert table.notes == ["a note"]


def test_drgn_finds_symbols_by_name_and_address() -> None:
    prog = Program(drgn.Platform(drgn.Architecture.X86_64))
    prog.register_symbol_finder("test", _table().finder, enable_index=0)
    found = prog.symbol("__do_read")
    assert (found.name, found.address, found.size, found.kind) == ("__do_read", 0x1010, 0x30, SymbolKind.FUNC)
    assert prog.symbol(0x1012).name == "read"
    assert prog.symbol("percpu_thing").address == 0x100
    assert prog.symbol("modules").address == 0x1900
    assert prog.symbol(0x1A00).kind == SymbolKind.OBJECT
    with pytest.raises(LookupError):
        prog.symbol("nope")
    with pytest.raises(LookupError):
        prog.symbol(0x5)
    assert len(prog.symbols()) == len(CORE)
    assert [s.name for s in prog.symbols(0x1012)] == ["read"]
