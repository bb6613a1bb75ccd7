# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import drgn
import pytest
from drgn import Program, TypeKind
from hypothesis import example, given
from hypothesis import strategies as st

from pageowner.errors import SymbolsError
from pageowner.symbols.btf import Btf, Kind
from pageowner.symbols.btf_types import BtfTypes
from tests.symbols.btf_blob import Blob

LONG = "long unsigned int"


def _program() -> Program:
    return Program(drgn.Platform(drgn.Architecture.X86_64))


def _types(blob: Blob) -> BtfTypes:
    prog = _program()
    types = BtfTypes(prog, Btf(blob.build()))
    prog.register_type_finder("test", types.finder, enable_index=0)
    return types


def test_c_spellings_find_the_one_integer() -> None:
    blob = Blob()
    blob.int(LONG, 4)  # not what drgn would make up itself
    prog = _types(blob).prog
    for spelling in ("unsigned long", "long unsigned int", "unsigned long int"):
        kind = prog.type(spelling)
        assert (kind.kind, kind.size, kind.is_signed) == (TypeKind.INT, 4, False)


def test_signed_and_bool_integers() -> None:
    blob = Blob()
    blob.int("int", 4, 1)
    blob.int("_Bool", 1, 4)
    prog = _types(blob).prog
    assert prog.type("int").is_signed
    assert prog.type("_Bool").kind == TypeKind.BOOL


def test_a_struct_that_points_to_itself() -> None:
    blob = Blob()
    blob.struct("list_head", 16, [("next", 2, 0), ("prev", 2, 64)])
    assert blob.pointer(1) == 2
    prog = _types(blob).prog
    head = prog.type("struct list_head")
    assert [(m.name, m.offset) for m in head.members] == [("next", 0), ("prev", 8)]
    assert head.member("next").type.type.member("prev").type.type.tag == "list_head"
    assert prog.type("struct list_head *").type is not None


def test_one_id_gives_one_type() -> None:
    blob = Blob()
    blob.struct("s", 8, [])
    types = _types(blob)
    assert types.type(1) is types.type(1)
    assert types.find(TypeKind.STRUCT, "s") is types.type(1)


def test_bit_fields_and_anonymous_members() -> None:
    blob = Blob()
    word = blob.int(LONG, 8)
    inner = blob.compound(Kind.UNION, "", 8, [("a", word, 3 << 24), ("whole", word, 0)], kflag=True)
    blob.struct("s", 16, [("", inner, 0), ("b", word, 5 << 24 | 64), ("c", word, 7 << 24 | 69)], kflag=True)
    kind = _types(blob).prog.type("struct s")
    assert kind.member("a").bit_field_size == 3
    assert kind.member("whole").bit_field_size is None
    assert (kind.member("c").bit_offset, kind.member("c").bit_field_size) == (69, 7)


def test_values_are_read_through_the_types() -> None:
    blob = Blob()
    word = blob.int(LONG, 8)
    blob.struct("s", 16, [("low", word, 4 << 24 | 4), ("next", blob.pointer(word), 64)], kflag=True)
    prog = _types(blob).prog
    data = bytes([0xA5] + [0] * 7 + [0x34, 0x12] + [0] * 6)
    prog.add_memory_segment(0x1000, 16, lambda address, size, offset, physical: data[offset : offset + size])
    value = drgn.Object(prog, "struct s", address=0x1000)
    assert value.low.value_() == 0xA
    assert value.next.value_() == 0x1234


@pytest.mark.parametrize(("length", "last", "expected"), [(0, True, None), (0, False, 0), (3, False, 3)])
def test_only_the_last_member_is_a_flexible_array(length: int, last: bool, expected: int | None) -> None:
    blob = Blob()
    byte = blob.int("char", 1, 1)
    array = blob.array(byte, length)
    blob.struct("s", 8, [("a", array, 0)] + ([] if last else [("b", byte, 32)]))
    assert _types(blob).prog.type("struct s").member("a").type.length == expected


def test_known_arrays_of_arrays_get_their_inner_length_back() -> None:
    blob = Blob()
    row = blob.array(blob.int(LONG, 8), 15)
    blob.enum("lru_list", {"NR_LRU_LISTS": 5})
    blob.struct("mem_cgroup_per_node", 120, [("lru_zone_size", row, 0), ("other", row, 0)])
    kind = _types(blob).prog.type("struct mem_cgroup_per_node")
    assert (kind.member("lru_zone_size").type.length, kind.member("lru_zone_size").type.type.length) == (3, 5)
    assert kind.member("other").type.length == 15


def test_an_inner_length_that_does_not_fit_leaves_the_row() -> None:
    blob = Blob()
    row = blob.array(blob.int(LONG, 8), 15)
    blob.enum("lru_list", {"NR_LRU_LISTS": 4})
    blob.struct("mem_cgroup_per_node", 120, [("lru_zone_size", row, 0)])
    assert _types(blob).prog.type("struct mem_cgroup_per_node").member("lru_zone_size").type.length == 15


def test_function_pointers() -> None:
    blob = Blob()
    number = blob.int("int", 4, 1)
    proto = blob.add(Kind.FUNC_PROTO, "", number, blob.string("a"), number, 0, 0, vlen=2)
    blob.struct("ops", 8, [("call", blob.pointer(proto), 0)])
    function = _types(blob).prog.type("struct ops").member("call").type.type
    assert function.kind == TypeKind.FUNCTION
    assert function.is_variadic
    assert [(p.name, p.type.type_name()) for p in function.parameters] == [("a", "int")]


def test_qualifiers_add_up_and_tags_vanish() -> None:
    blob = Blob()
    number = blob.int("int", 4, 1)
    tagged = blob.add(Kind.TYPE_TAG, "user", number)
    volatile = blob.add(Kind.VOLATILE, "", tagged)
    both = blob.add(Kind.CONST, "", volatile)
    blob.add(Kind.TYPEDEF, "t", both)
    assert _types(blob).prog.type("t").type.qualifiers == drgn.Qualifiers.CONST | drgn.Qualifiers.VOLATILE


def test_a_forward_declaration_finds_its_struct() -> None:
    blob = Blob()
    pointer = blob.pointer(blob.add(Kind.FWD, "later", 0))
    blob.struct("s", 8, [("p", pointer, 0)])
    blob.struct("later", 24, [])
    assert _types(blob).prog.type("struct s").member("p").type.type.size == 24


@pytest.mark.parametrize(("kflag", "kind"), [(False, TypeKind.STRUCT), (True, TypeKind.UNION)])
def test_a_forward_declaration_of_nothing_is_incomplete(kflag: bool, kind: TypeKind) -> None:
    blob = Blob()
    blob.add(Kind.FWD, "nowhere", 0, kflag=kflag)
    found = _types(blob).type(1)
    assert (found.kind, found.tag, found.is_complete()) == (kind, "nowhere", False)


def test_enums_say_whether_they_are_signed() -> None:
    blob = Blob()
    blob.enum("signed", {"MINUS": -1}, kflag=True)
    blob.enum("unsigned", {"HIGH": 0xF0000000})
    types = _types(blob)
    assert types.enumerator("MINUS").value_() == -1
    assert types.enumerator("HIGH").value_() == 0xF0000000


def test_an_old_enum_is_signed_if_a_value_looks_so() -> None:
    blob = Blob()
    blob.enum("old", {"MINUS": -1, "ONE": 1})
    types = _types(blob)
    assert types.enumerator("MINUS").value_() == -1
    assert types.enumerator("ONE").value_() == 1


def test_enum64() -> None:
    blob = Blob()
    blob.add(Kind.ENUM64, "wide", 8, blob.string("BIG"), 1, 2, vlen=1)
    types = _types(blob)
    assert types.enumerator("BIG").value_() == 0x2_0000_0001
    assert types.prog.type("enum wide").enumerators[0].name == "BIG"


def test_an_unknown_enumerator_is_none() -> None:
    assert _types(Blob()).enumerator("NOPE") is None


def test_split_types_share_the_types_of_the_base() -> None:
    blob = Blob()
    blob.struct("page", 64, [])
    base = _types(blob)
    split = Blob(base.btf.nr_types, base.btf.str_end)
    split.struct("zspage", 8, [("first", split.pointer(1), 0)])
    own = split.struct("zs_pool", 8, [("p", 1, 0)])
    types = BtfTypes(base.prog, Btf(split.build(), base.btf), base)
    assert types.type(own).member("p").type is base.type(1) or types.type(1) is base.type(1)
    assert base.find(TypeKind.STRUCT, "zspage") is None
    assert types.find(TypeKind.STRUCT, "zspage").size == 8


def test_a_type_that_is_its_own_typedef_is_corrupt() -> None:
    blob = Blob()
    blob.add(Kind.TYPEDEF, "t", 2)
    blob.add(Kind.TYPEDEF, "u", 1)
    with pytest.raises(SymbolsError, match="refers to itself"):
        _types(blob).prog.type("t")


def test_a_section_is_no_type() -> None:
    blob = Blob()
    section = blob.add(Kind.DATASEC, ".data", 0)
    blob.add(Kind.TYPEDEF, "t", section)
    with pytest.raises(SymbolsError, match="is no type"):
        _types(blob).prog.type("t")


def _busy() -> bytes:
    blob = Blob()
    word = blob.int(LONG, 8)
    blob.struct("s", 24, [("a", word, 5 << 24), ("b", blob.array(word, 2), 64)], kflag=True)
    blob.enum("e", {"ONE": 1})
    blob.add(Kind.TYPEDEF, "t", blob.pointer(2))
    blob.add(Kind.FUNC_PROTO, "", word, 0, word, vlen=1)
    blob.add(Kind.FLOAT, "double", 8)
    return blob.build()


def _touch(kind: drgn.Type) -> None:
    for member in getattr(kind, "members", None) or ():
        member.type.type_name()
    for parameter in getattr(kind, "parameters", None) or ():
        parameter.type.type_name()


@example(52, b"\0")  # an array of void
@given(st.integers(24, len(_busy()) - 1), st.binary(min_size=1, max_size=4))
def test_corrupt_types_are_one_error(at: int, junk: bytes) -> None:
    data = bytearray(_busy())
    data[at : at + len(junk)] = junk
    try:
        types = BtfTypes(_program(), Btf(bytes(data)))
    except SymbolsError:
        return
    for type_id in range(types.btf.nr_types):
        try:
            _touch(types.type(type_id))
        except SymbolsError as error:
            assert "\n" not in str(error)
