# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import numpy as np
import pytest
from drgn import TypeKind

from pageowner.symbols.kallsyms import Kallsyms
from pageowner.symbols.module_types import ModuleTypes
from pageowner.symbols.modules import load_others
from pageowner.symbols.table import SymbolTable
from pageowner.symbols.walk import walk_list
from tests.symbols.btf_blob import Blob
from tests.symbols.fake_kernel import FakeKernel


def _table(kernel: FakeKernel) -> SymbolTable:
    kernel.attach()
    core = Kallsyms(np.array([0x1000, 0x2000], np.uint64), ["_stext", "_end"], b"TB")
    return SymbolTable(core, lambda: load_others(kernel.prog))


def _texts(table: SymbolTable, *addresses: int) -> list[str]:
    return table.symbolize(np.array(addresses, np.uint64))


@pytest.mark.parametrize("layouts", [False, True], ids=["6.4", "6.1"])
def test_symbols_of_modules(layouts: bool) -> None:
    kernel = FakeKernel(layouts)
    kernel.module("zsmalloc")
    table = _table(kernel)
    assert _texts(table, 0x9010, 0x901F, 0x9020, 0x90FF, 0x900F, 0x9100) == [
        "zs_malloc+0x0/0x10 [zsmalloc]",
        "zs_malloc+0xf/0x10 [zsmalloc]",  # unnamed and mapping symbols end nothing
        "zs_free+0x0/0xe0 [zsmalloc]",  # the last one reaches to the end of the text
        "zs_free+0xdf/0xe0 [zsmalloc]",
        "0x900f",  # before the first symbol
        "0x9100",
    ]
    assert table.lookup("zs_alias") == 0x9010
    assert table.module_at(0xA008) == "zsmalloc"
    assert table.notes == []


def test_a_module_that_is_not_formed_yet_has_no_symbols() -> None:
    kernel = FakeKernel()
    kernel.module("early", state=3)
    assert _texts(_table(kernel), 0x9010) == ["0x9010"]


def test_bpf_and_kept_init_functions() -> None:
    kernel = FakeKernel()
    module = kernel.module("ext4")
    kernel.bpf("bpf_prog_6deef7357e7b", 0xB000, 0xB040)
    kernel.bpf("empty", 0xC000, 0xC000)
    kernel.kept_function(module, "ext4_init", 0xD000, 0x20)
    kernel.kept_function(module, "shadowed", 0x9020, 0x20)
    table = _table(kernel)
    assert _texts(table, 0xB004, 0xC000, 0xD01F, 0xD020, 0x9024) == [
        "bpf_prog_6deef7357e7b+0x4/0x40",
        "0xc000",
        "ext4_init+0x1f/0x20 [ext4]",
        "0xd020",
        "zs_free+0x4/0xe0 [ext4]",  # what is loaded now comes first
    ]
    assert table.notes == []


def test_a_kernel_without_modules_and_bpf() -> None:
    kernel = FakeKernel()
    kernel.heads.clear()
    table = _table(kernel)
    assert _texts(table, 0x9010) == ["0x9010"]
    assert table.notes == []


def test_a_torn_module_costs_only_itself() -> None:
    kernel = FakeKernel()
    broken = kernel.module("broken")
    kernel.module("whole")
    kernel.memory.patch(broken + 48, 0x10)  # kallsyms
    table = _table(kernel)
    assert _texts(table, 0x9010) == ["zs_malloc+0x0/0x10 [whole]"]
    assert len(table.notes) == 1
    assert "\n" not in table.notes[0]


def test_a_count_of_symbols_that_no_module_has() -> None:
    kernel = FakeKernel()
    module = kernel.module("mad")
    table_at = kernel.prog.read_u64(module + 48)
    kernel.memory.patch(table_at + 8, 0xFFFFFFFF)
    table = _table(kernel)
    assert _texts(table, 0x9010) == ["0x9010"]
    assert "4294967295 symbols" in table.notes[0]


def test_structures_of_another_make_are_noted() -> None:
    kernel = FakeKernel(layouts=True)
    kernel.module("zsmalloc")
    kernel.kept_function(0x10, "torn", 0xD000, 0x20)
    table = _table(kernel)
    assert _texts(table, 0x9010, 0xD000) == ["zs_malloc+0x0/0x10 [zsmalloc]", "0xd000"]
    assert len(table.notes) == 1
    assert "init functions" in table.notes[0]


def test_a_name_without_an_end_is_cut() -> None:
    kernel = FakeKernel()
    kernel.bpf("x" * 24, 0xB000, 0xB010)
    assert _texts(_table(kernel), 0xB000) == ["x" * 24 + "+0x0/0x10"]


def test_a_walk_ends_at_the_head() -> None:
    kernel = FakeKernel()
    added = [kernel.bpf(f"p{i}", 0xB000, 0xB001) for i in range(5)]
    kernel.attach()
    notes: list[str] = []
    found = walk_list(kernel.prog["bpf_kallsyms"], "struct bpf_ksym", "lnode", 5, notes)
    assert [entry.value_() for entry in found] == added
    assert notes == []


@pytest.mark.parametrize(
    ("limit", "target", "seen", "says"),
    [(3, None, 3, "more than 3"), (100, 1, 5, "circle"), (100, "nowhere", 5, "unreadable")],
)
def test_a_walk_always_ends(limit: int, target: int | str | None, seen: int, says: str) -> None:
    kernel = FakeKernel()
    added = [kernel.bpf(f"p{i}", 0xB000, 0xB001) for i in range(5)]
    if target is not None:
        node = added[target] + 40 if isinstance(target, int) else 0xDEAD000000000100  # LIST_POISON1
        kernel.memory.patch(added[-1] + 40, node)
    kernel.attach()
    notes: list[str] = []
    found = list(walk_list(kernel.prog["bpf_kallsyms"], "struct bpf_ksym", "lnode", limit, notes))
    assert len(found) == seen + (target == "nowhere")
    assert len(notes) == 1
    assert says in notes[0]


def _module_blob(kernel: FakeKernel) -> tuple[Blob, ModuleTypes]:
    base = kernel.attach()
    finder = ModuleTypes(kernel.prog, base)
    kernel.prog.register_type_finder("modules", finder.finder, enable_index=-1)
    return Blob(base.btf.nr_types, base.btf.str_end), finder


def test_types_that_only_a_module_has() -> None:
    kernel = FakeKernel()
    blob, finder = _module_blob(kernel)
    first = blob.next_id
    blob.struct("zspage", 24, [("next", blob.pointer(1), 64)])
    kernel.module_btf(blob.build(), first)
    zspage = kernel.prog.type("struct zspage")
    assert zspage.member("next").type.type.type_name() == "unsigned long"
    assert kernel.prog.type("struct page").kind == TypeKind.STRUCT
    assert finder.notes == []


def test_btf_of_a_module_that_is_damaged_or_for_another_kernel() -> None:
    kernel = FakeKernel()
    blob, finder = _module_blob(kernel)
    first = blob.next_id
    blob.struct("zspage", 24, [])
    kernel.module_btf(blob.build(), first + 1)
    kernel.module_btf(b"junk" * 10, first)
    kernel.module_btf(blob.build(), first)
    assert kernel.prog.type("struct zspage").size == 24
    assert len(finder.notes) == 2
    with pytest.raises(LookupError):
        kernel.prog.type("struct nowhere")
