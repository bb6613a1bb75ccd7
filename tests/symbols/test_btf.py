# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageowner.errors import SymbolsError
from pageowner.symbols.btf import Btf, Kind
from tests.symbols.btf_blob import Blob


def _sample() -> Blob:
    blob = Blob()
    number = blob.int("int", 4, 1)
    blob.struct("list_head", 16, [("next", blob.pointer(number), 0)])
    blob.enum("colour", {"RED": 0, "GREEN": 5})
    blob.add(Kind.TYPEDEF, "number", number)
    blob.enum("", {"BLUE": 7})
    return blob


def test_types_are_found_by_kind_and_name() -> None:
    btf = Btf(_sample().build())
    assert btf.find(Kind.INT, "int") == [1]
    assert btf.find(Kind.STRUCT, "list_head") == [3]
    assert btf.find(Kind.TYPEDEF, "number") == [5]
    assert btf.find(Kind.STRUCT, "number") == []
    assert btf.find(Kind.STRUCT, "no_such") == []
    assert btf.nr_types == 7


def test_enumerators_are_found_also_in_anonymous_enums() -> None:
    btf = Btf(_sample().build())
    assert btf.find_enumerators("GREEN") == [4]
    assert btf.find_enumerators("BLUE") == [6]
    assert btf.find_enumerators("int") == []


def test_a_record_has_its_trailing_words() -> None:
    btf = Btf(_sample().build())
    record = btf.record(3)
    assert (record.kind, record.size_or_type, record.kflag) == (Kind.STRUCT, 16, False)
    assert [btf.string(name) for name, _, _ in record.rows(3)] == ["next"]


def test_equal_names_come_lowest_id_first() -> None:
    blob = Blob()
    first = blob.struct("console", 8, [])
    second = blob.struct("console", 16, [])
    assert Btf(blob.build()).find(Kind.STRUCT, "console") == [first, second]


def test_a_longer_header_is_skipped() -> None:
    # 7.2 adds layout_off and layout_len; sections start behind hdr_len whatever it is.
    assert Btf(_sample().build(hdr_len=32)).find(Kind.STRUCT, "list_head") == [3]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind != Kind.VOID])
def test_every_kind_has_its_length(kind: Kind) -> None:
    always, each = {
        Kind.INT: (1, 0), Kind.ARRAY: (3, 0), Kind.STRUCT: (0, 3), Kind.UNION: (0, 3), Kind.ENUM: (0, 2),
        Kind.FUNC_PROTO: (0, 2), Kind.VAR: (1, 0), Kind.DATASEC: (0, 3), Kind.DECL_TAG: (1, 0),
        Kind.ENUM64: (0, 3),
    }.get(kind, (0, 0))  # fmt: skip
    blob = Blob()
    vlen = 2 if each else 0
    blob.add(kind, "one", 0, *range(always + each * vlen), vlen=vlen)
    after = blob.int("after", 4)
    assert Btf(blob.build()).find(Kind.INT, "after") == [after]


def test_split_btf_continues_ids_and_strings() -> None:
    blob = _sample()
    base = Btf(blob.build())
    split = Blob(base.nr_types, base.str_end)
    own = split.struct("zspage", 8, [("number", 1, 0)])
    btf = Btf(split.build(), base)
    assert own == base.nr_types
    assert btf.find(Kind.STRUCT, "zspage") == [own]
    assert btf.find(Kind.STRUCT, "list_head") == [3]
    assert btf.string(btf.record(own).name_off) == "zspage"
    assert btf.record(3) == base.record(3)
    assert base.find(Kind.STRUCT, "zspage") == []


def test_a_split_type_may_have_its_name_in_the_base() -> None:
    base = Btf(_sample().build())
    split = Blob(base.nr_types, base.str_end)
    split.string = lambda text: base._offsets_of(text)[0]  # type: ignore[method-assign]
    own = split.add(Kind.FWD, "colour", 0)
    assert Btf(split.build(), base).find(Kind.FWD, "colour") == [own]


def _with(offset: int, value: int) -> Callable[[], bytes]:
    def change() -> bytes:
        data = bytearray(_sample().build())
        struct.pack_into("<I", data, offset, value)
        return bytes(data)

    return change


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "cannot be BTF"),
        (_with(0, 0), "magic"),
        (_with(4, 8), "header"),
        (_with(8, 2), "header"),
        (_with(12, 1 << 30), "cut off"),
        (_with(20, 1 << 30), "cut off"),
        (lambda: _sample().build()[:-1], "cut off"),
        (_with(20, 3), "string section"),
        (_with(28, 0x7F << 24), "unknown kind"),
        (_with(28, Kind.ENUM << 24 | 0xFFFF), "cut off"),
    ],
)
def test_corrupt_btf_is_one_line(make: Callable[[], bytes], says: str) -> None:
    with pytest.raises(SymbolsError, match=says) as caught:
        Btf(make())
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_an_error() -> None:
    btf = Btf(_sample().build())
    with pytest.raises(SymbolsError, match="type 99"):
        btf.record(99)
    with pytest.raises(SymbolsError, match="string"):
        btf.string(1 << 20)


@given(st.integers(0, len(_sample().build()) - 1), st.binary(min_size=1, max_size=4))
def test_any_change_gives_types_or_one_error(at: int, junk: bytes) -> None:
    data = bytearray(_sample().build())
    data[at : at + len(junk)] = junk
    try:
        btf = Btf(bytes(data))
        for type_id in range(1, btf.nr_types):
            btf.string(btf.record(type_id).name_off)
        btf.find(Kind.STRUCT, "list_head")
        btf.find_enumerators("RED")
    except SymbolsError as error:
        assert "\n" not in str(error)
