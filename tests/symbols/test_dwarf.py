# SPDX-License-Identifier: LGPL-2.1-or-later
"""BTF against DWARF, for a kernel that the lab built with debug information.

Set ``PAGEOWNER_VMLINUX`` to the unstripped vmlinux and ``PAGEOWNER_CORE`` to a core of that very build.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from drgn import Program, Type, TypeKind

from pageowner.snapshot.report import Selection, report_tables
from pageowner.snapshot.scan import open_scan
from pageowner.sources import open_core
from pageowner.symbols import SymbolTable, attach
from pageowner.symbols.attach import read_btf
from pageowner.symbols.btf import Btf, Kind
from pageowner.symbols.btf_types import BtfTypes
from pageowner.symbols.globals import CHANGED, SAME
from pageowner.symbols.kallsyms_elf import debug_file_kallsyms
from tests.symbols.helper_answers import ANSWERS, answers

VMLINUX, CORE = os.environ.get("PAGEOWNER_VMLINUX"), os.environ.get("PAGEOWNER_CORE")
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not VMLINUX or not CORE, reason="needs PAGEOWNER_VMLINUX and PAGEOWNER_CORE"),
]
# Defined in assembly, so DWARF has no type for them.
ASSEMBLY = {"phys_base", "empty_zero_page"}
COMPOUND = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum"}


@pytest.fixture(scope="module")
def bare() -> tuple[Program, SymbolTable]:
    prog = Program()
    prog.set_core_dump(str(CORE))
    return prog, attach(prog)


@pytest.fixture(scope="module")
def dwarf() -> tuple[Program, SymbolTable]:
    prog = Program()
    prog.set_core_dump(str(CORE))
    prog.load_debug_info([str(VMLINUX)])
    return prog, attach(prog)


def _shape(kind: Type, depth: int = 0) -> Any:
    """Layout of a type, anonymous members included; arrays as their size, since BTF has them flat."""
    if kind.kind in (TypeKind.STRUCT, TypeKind.UNION):
        if depth and kind.tag:
            return kind.type_name()
        members = [
            (m.name, m.bit_offset, m.bit_field_size, _shape(m.type, depth + 1)) for m in kind.members or ()
        ]
        return kind.kind, kind.size, members
    if kind.kind == TypeKind.ENUM:
        # BTF of kernels before 6.0 does not say whether an enum has a sign, and holds 32 bits.
        return kind.tag, [(one.name, one.value & 0xFFFFFFFF) for one in kind.enumerators or ()]
    if kind.kind == TypeKind.ARRAY:
        length = 1
        while kind.kind == TypeKind.ARRAY:
            length, kind = length * (kind.length or 0), kind.type
        return length, _shape(kind, 1)
    return kind.type_name().replace("[0]", "[]")


def _named(btf: Btf) -> Iterator[tuple[Kind, str]]:
    for kind in COMPOUND:
        names = {btf.string(int(offset)) for offset in btf.name_offs[btf.kinds == kind]}
        yield from ((kind, name) for name in sorted(names) if name)


def test_every_struct_union_and_enum_has_dwarfs_layout(bare: Any, dwarf: Any) -> None:
    btf = Btf(read_btf(*bare))
    types = BtfTypes(bare[0], btf)
    compared, wrong = 0, []
    for kind, name in _named(btf):
        try:
            expected = _shape(dwarf[0].type(f"{COMPOUND[kind]} {name}"))
        except LookupError:  # drgn does not index types that only a function has
            continue
        compared += 1
        # Some names are there twice, and either may be meant.
        if expected not in [_shape(types.type(one)) for one in btf.find(kind, name)]:
            wrong.append(name)
    assert wrong == []
    assert compared > 4000


def _plain(kind: Type) -> str:
    """The name of a type without its qualifiers and typedefs, which are a matter of taste."""
    while kind.kind == TypeKind.TYPEDEF:
        kind = kind.type
    if kind.kind == TypeKind.POINTER:
        return f"{_plain(kind.type)} *"
    return kind.unqualified().type_name()


def _unlike(ours: Type, theirs: Type) -> bool:
    while ours.kind == theirs.kind == TypeKind.ARRAY:
        if ours.length not in (None, theirs.length):
            return True
        ours, theirs = ours.type, theirs.type
    return _plain(ours) != _plain(theirs)


@pytest.mark.parametrize("name", sorted({*SAME, *CHANGED} - ASSEMBLY))
def test_a_global_has_dwarfs_type_and_address(bare: Any, dwarf: Any, name: str) -> None:
    found = []
    for prog, _ in (bare, dwarf):
        try:
            found.append(prog.variable(name))
        except LookupError:
            found.append(None)
    ours, theirs = found
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert ours.address_ == theirs.address_
        assert not _unlike(ours.type_, theirs.type_)


@pytest.fixture(scope="module")
def helpers(bare: Any, dwarf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return answers(bare[0]), answers(dwarf[0])


@pytest.mark.parametrize("name", ANSWERS)
def test_drgns_helper_says_the_same(helpers: Any, name: str) -> None:
    ours, theirs = helpers[0][name], helpers[1][name]
    assert ours == theirs
    assert not (isinstance(ours, str) and "Error: " in ours)


def test_symbols_are_the_same_with_debug_information(bare: Any, dwarf: Any) -> None:
    low, high = bare[1].lookup("_stext"), bare[1].lookup("_etext")
    addresses = np.linspace(low, high, 5000).astype(np.uint64)
    assert bare[1].symbolize(addresses) == dwarf[1].symbolize(addresses)


def test_a_kernel_without_kallsyms_is_named_by_its_debug_file(dwarf: Any) -> None:
    prog = Program()
    prog.set_core_dump(str(CORE))
    prog.load_debug_info([str(VMLINUX)])
    table = debug_file_kallsyms(prog)
    assert table is not None
    low, high = dwarf[1].lookup("_stext"), dwarf[1].lookup("_etext")
    addresses = np.linspace(low, high, 5000).astype(np.uint64)[:-1]
    pairs = zip(SymbolTable(table).symbolize(addresses), dwarf[1].symbolize(addresses), strict=True)
    assert sum(ours == theirs for ours, theirs in pairs) > 4900


def test_the_report_is_the_same() -> None:
    texts = []
    for vmlinux in (None, Path(str(VMLINUX))):
        tables = report_tables(open_scan(open_core(str(CORE), vmlinux)), Selection(mappings=True))
        texts.append(pl.concat(list(tables)))
    assert texts[0].height > 5000
    assert texts[0].equals(texts[1])
