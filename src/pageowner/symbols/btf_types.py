# SPDX-License-Identifier: LGPL-2.1-or-later
"""drgn types made from BTF, each when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import drgn
from drgn import Object, Program, Qualifiers, Type, TypeEnumerator, TypeKind, TypeMember, TypeParameter

from pageowner.errors import SymbolsError
from pageowner.symbols.btf import Btf, Kind, Record

# Longest chain of pointers, typedefs, qualifiers and return types that we follow; the kernel's are below 20.
MAX_DEPTH = 100

_QUALIFIERS = {
    Kind.CONST: Qualifiers.CONST,
    Kind.VOLATILE: Qualifiers.VOLATILE,
    Kind.RESTRICT: Qualifiers.RESTRICT,
}
_BTF_KINDS = {
    TypeKind.INT: Kind.INT,
    TypeKind.BOOL: Kind.INT,
    TypeKind.FLOAT: Kind.FLOAT,
    TypeKind.STRUCT: Kind.STRUCT,
    TypeKind.UNION: Kind.UNION,
    TypeKind.ENUM: Kind.ENUM,
    TypeKind.TYPEDEF: Kind.TYPEDEF,
}
# BTF has the elements of arrays of arrays in one row. These get their inner lengths back (numbers, or the
# enumerators that give them); any other has to be indexed by hand.
_FLATTENED: dict[tuple[str, str], tuple[int | str, ...]] = {
    ("mem_cgroup_per_node", "lru_zone_size"): ("NR_LRU_LISTS",),
    ("lru_gen_folio", "folios"): (2, "__MAX_NR_ZONES"),  # ANON_AND_FILE
    ("lru_gen_folio", "nr_pages"): (2, "__MAX_NR_ZONES"),
    ("lru_gen_struct", "lists"): (2, "__MAX_NR_ZONES"),  # up to 6.2
    ("lru_gen_struct", "nr_pages"): (2, "__MAX_NR_ZONES"),
    ("mthp_stat", "stats"): ("__MTHP_STAT_COUNT",),
}
_INT_SIGNED, _INT_BOOL = 1, 4
_ENUM_INTS = {1: "char", 2: "short int", 4: "int", 8: "long int"}


class BtfTypes:
    """Types of one program; a BTF id gives the same :class:`drgn.Type` object every time.

    A program is for one thread at a time: drgn lets a second one see a member that the first is still making.

    :param prog: program that the types are created in.
    :param btf: the kernel's BTF, or a module's on top of it.
    :param base: with a module's: the kernel's types.
    """

    def __init__(self, prog: Program, btf: Btf, base: BtfTypes | None = None) -> None:
        self.prog = prog
        self.btf = btf
        self._base = base
        self._types: dict[int, Type] = {}
        self._named: dict[tuple[TypeKind, str], Type | None] = {}
        self._depth = 0
        self._makers: dict[int, Callable[[Record], Type]] = {
            Kind.INT: self._int,
            Kind.PTR: self._pointer,
            Kind.ARRAY: self._array,
            Kind.STRUCT: self._compound,
            Kind.UNION: self._compound,
            Kind.ENUM: self._enum,
            Kind.ENUM64: self._enum,
            Kind.FWD: self._forward,
            Kind.TYPEDEF: self._typedef,
            Kind.VOLATILE: self._qualified,
            Kind.CONST: self._qualified,
            Kind.RESTRICT: self._qualified,
            Kind.FUNC: self._through,
            Kind.FUNC_PROTO: self._function,
            Kind.VAR: self._through,
            Kind.FLOAT: self._float,
            Kind.TYPE_TAG: self._through,
        }

    def type(self, type_id: int) -> Type:
        """The type of BTF id *type_id*; for a FUNC or VAR that of its function or variable.

        :raises SymbolsError: if the BTF is corrupt there.
        """
        if self._base and type_id < self.btf.start_id:
            return self._base.type(type_id)
        found = self._types.get(type_id)
        if found is None:
            found = self._types[type_id] = self._make(type_id)
        return found

    def find(self, kind: TypeKind, name: str) -> Type | None:
        """The first type of *kind* called *name* (a struct's without ``struct``)."""
        key = (kind, name)
        if key not in self._named:
            self._named[key] = self._find(kind, name)
        return self._named[key]

    def finder(
        self, prog: Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
    ) -> Type | None:
        """drgn's type finder; BTF knows no files, so *filename* is not looked at."""
        for kind in kinds:
            if kind in _BTF_KINDS and (found := self.find(kind, name)) is not None:
                return found
        return None

    def enumerator(self, name: str) -> Object | None:
        """The constant *name* of whichever enum, anonymous or not, has it first."""
        for type_id in self.btf.find_enumerators(name):
            enum = self.type(type_id)
            for one in enum.enumerators or ():
                if one.name == name:
                    return Object(self.prog, enum, one.value)
        return None

    def function(self, name: str) -> Type | None:
        """The type of function *name*."""
        return self._first(Kind.FUNC, name)

    def variable(self, name: str) -> Type | None:
        """The type of global *name*; BTF has those of per-CPU variables only."""
        return self._first(Kind.VAR, name)

    def _first(self, kind: Kind, name: str) -> Type | None:
        ids = self.btf.find(kind, name)
        return self.type(ids[0]) if ids else None

    def _find(self, kind: TypeKind, name: str) -> Type | None:
        ids = self.btf.find(_BTF_KINDS[kind], name)
        if kind == TypeKind.ENUM:
            ids += self.btf.find(Kind.ENUM64, name)
        for type_id in ids:
            found = self.type(type_id)
            if found.kind == kind:  # INT is BOOL, too
                return found
        return None

    def _make(self, type_id: int) -> Type:
        if type_id == 0:
            return self.prog.void_type()
        record = self.btf.record(type_id)
        maker = self._makers.get(record.kind)
        if maker is None:
            raise SymbolsError(f"BTF id {type_id} is no type: the BTF is corrupt")
        if self._depth > MAX_DEPTH:
            raise SymbolsError(f"BTF type {type_id} refers to itself: the BTF is corrupt")
        self._depth += 1
        try:
            with _sane(type_id):
                return maker(record)
        finally:
            self._depth -= 1

    def _name(self, record: Record) -> str:
        return self.btf.string(record.name_off)

    def _int(self, record: Record) -> Type:
        encoding = (record.words[0] >> 24) & 0xF
        name, size = self._name(record), _size(record, 16)
        if encoding & _INT_BOOL:
            return self.prog.bool_type(name, size)
        return self.prog.int_type(name, size, bool(encoding & _INT_SIGNED))

    def _float(self, record: Record) -> Type:
        return self.prog.float_type(self._name(record), _size(record, 16))

    def _pointer(self, record: Record) -> Type:
        return self.prog.pointer_type(self.type(record.size_or_type))

    def _through(self, record: Record) -> Type:
        return self.type(record.size_or_type)

    def _typedef(self, record: Record) -> Type:
        return self.prog.typedef_type(self._name(record), self.type(record.size_or_type))

    def _qualified(self, record: Record) -> Type:
        inner = self.type(record.size_or_type)
        return inner.qualified(inner.qualifiers | _QUALIFIERS[Kind(record.kind)])

    def _array(self, record: Record) -> Type:
        element, _, length = record.words
        # BTF has 0 for both [] and [0].
        return self.prog.array_type(self._element(element), length or None)

    def _element(self, type_id: int) -> Type:
        """The type of an array's elements, which must have a size; drgn asks for it only when it is used."""
        found = self.type(type_id)
        if found.kind in (TypeKind.VOID, TypeKind.FUNCTION):
            raise SymbolsError(f"BTF has an array of type {type_id}, which has no size: the BTF is corrupt")
        return found

    def _forward(self, record: Record) -> Type:
        # The complete type is there under the same name, unless no object file had it.
        name = self._name(record)
        kind = TypeKind.UNION if record.kflag else TypeKind.STRUCT
        ids = self.btf.find(_BTF_KINDS[kind], name)
        if len(ids) == 1:
            return self.type(ids[0])
        return self.prog.union_type(name) if record.kflag else self.prog.struct_type(name)

    def _compound(self, record: Record) -> Type:
        tag = self._name(record)
        rows = record.rows(3)
        # Only a struct's last member can be []; an empty array elsewhere is [0], which marks a place.
        last = len(rows) - 1 if record.kind == Kind.STRUCT else -1
        members = [self._member(record.kflag, tag, i == last, *row) for i, row in enumerate(rows)]
        make = self.prog.struct_type if record.kind == Kind.STRUCT else self.prog.union_type
        return make(tag or None, record.size_or_type, members)

    def _member(
        self, kflag: bool, owner: str, last: bool, name_off: int, type_id: int, offset: int
    ) -> TypeMember:
        name = self.btf.string(name_off)
        width = offset >> 24 if kflag else 0
        bit_offset = offset & 0xFFFFFF if kflag else offset
        if width:
            return TypeMember(lambda: self._bit_field(type_id, width), name or None, bit_offset)
        return TypeMember(lambda: self._member_type(owner, name, type_id, last), name or None, bit_offset)

    def _member_type(self, owner: str, name: str, type_id: int, last: bool) -> Type:
        record = self.btf.record(type_id) if type_id else None
        if record is None or record.kind != Kind.ARRAY:
            return self.type(type_id)
        element, _, length = record.words
        if not length and not last:
            return self.prog.array_type(self._element(element), 0)
        if (owner, name) in _FLATTENED:
            return self._nested(self._element(element), length, _FLATTENED[owner, name])
        return self.type(type_id)

    def _nested(self, element: Type, length: int, inner: tuple[int | str, ...]) -> Type:
        """The array of arrays whose *length* elements BTF has in one row."""
        for one in reversed(inner):
            found = self.enumerator(one) if isinstance(one, str) else one
            size = int(found) if found is not None else 0
            if size < 1 or length % size:
                return self.prog.array_type(element, length)  # not how this kernel has it
            element, length = self.prog.array_type(element, size), length // size
        return self.prog.array_type(element, length)

    def _bit_field(self, type_id: int, width: int) -> Object:
        with _sane(type_id):
            return Object(self.prog, self.type(type_id), bit_field_size=width)

    def _enum(self, record: Record) -> Type:
        tag, size = self._name(record) or None, _size(record, 8)
        values, signed = self._enum_values(record)
        name = _ENUM_INTS.get(size, "int")
        kind = self.prog.int_type(name if signed else f"unsigned {name}", size, signed)
        return self.prog.enum_type(tag, kind, [TypeEnumerator(n, v) for n, v in values])

    def _enum_values(self, record: Record) -> tuple[list[tuple[str, int]], bool]:
        if record.kind == Kind.ENUM64:
            rows = [(name, low | high << 32) for name, low, high in record.rows(3)]
            bits = 64
        else:
            rows = [(name, value) for name, value in record.rows(2)]
            bits = 32
        top = 1 << (bits - 1)
        # Before pahole 1.24 nothing says that an enum is signed but a value that looks negative.
        signed = record.kflag or (not self.btf.has_signed_enums and any(v & top for _, v in rows))
        values = [(self.btf.string(n), v - 2 * top if signed and v & top else v) for n, v in rows]
        return values, signed

    def _function(self, record: Record) -> Type:
        rows = record.rows(2)
        variadic = bool(rows) and rows[-1] == [0, 0]
        if variadic:
            rows.pop()
        parameters = [self._parameter(*row) for row in rows]
        return self.prog.function_type(self.type(record.size_or_type), parameters, variadic)

    def _parameter(self, name_off: int, type_id: int) -> TypeParameter:
        return TypeParameter(lambda: self.type(type_id), self.btf.string(name_off) or None)


@contextmanager
def _sane(type_id: int) -> Iterator[None]:
    """Turn drgn's refusal of a type into the one error that users see."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise SymbolsError(f"BTF type {type_id} makes no sense ({error}): the BTF is corrupt") from error


def _size(record: Record, limit: int) -> int:
    """The size of a number; drgn itself notices a bad one only when it is used."""
    size = record.size_or_type
    if not 0 < size <= limit:
        raise ValueError(f"a number of {size} bytes")
    return size
