# SPDX-License-Identifier: LGPL-2.1-or-later
"""An index over BTF, the kernel's own compact description of its types.

Mirrors the layout of ``include/uapi/linux/btf.h``. Nothing is decoded before it is asked for: opening
costs one walk over the type section, names are looked up through the string section.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pageowner.errors import SymbolsError

MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
MAX_BYTES = 64 << 20  # the largest known vmlinux BTF is below 16 MiB
MAX_NAME = 4096

U32s = npt.NDArray[np.uint32]
I64s = npt.NDArray[np.int64]


class Kind(IntEnum):
    """``BTF_KIND_*``."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# 32-bit words that follow the three common ones: (always, once per vlen).
_TRAILER: dict[int, tuple[int, int]] = {
    Kind.INT: (1, 0),
    Kind.PTR: (0, 0),
    Kind.ARRAY: (3, 0),
    Kind.STRUCT: (0, 3),
    Kind.UNION: (0, 3),
    Kind.ENUM: (0, 2),
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),
    Kind.FUNC_PROTO: (0, 2),
    Kind.VAR: (1, 0),
    Kind.DATASEC: (0, 3),
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (1, 0),
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 3),
}


class Record(NamedTuple):
    """One ``struct btf_type`` with its trailing words."""

    kind: int
    name_off: int
    kflag: bool
    size_or_type: int
    words: list[int]  # what follows the common part, flat

    def rows(self, width: int) -> list[list[int]]:
        """The trailing words, *width* at a time: members, parameters or enumerators."""
        return [self.words[i : i + width] for i in range(0, len(self.words), width)]


class Btf:
    """Types of one BTF blob, or of a module's split BTF on top of *base*.

    :param data: the blob, header first, in the byte order of this machine.
    :param base: the kernel's own BTF if *data* is a module's: ids and string offsets continue it.
    :raises SymbolsError: if *data* is not well-formed BTF.
    """

    def __init__(self, data: bytes, base: Btf | None = None) -> None:
        self.base = base
        self.start_id: int = base.nr_types if base else 1
        self._start_str: int = base.str_end if base else 0
        types, self._strings = _sections(data)
        self._words: U32s = np.frombuffer(types, "<u4", len(types) // 4)
        self._starts = _walk(self._words)
        #: ids are below this
        self.nr_types: int = self.start_id + len(self._starts)
        #: string offsets are below this
        self.str_end: int = self._start_str + len(self._strings)

    @cached_property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """Kind of each own type; shape (nr_types - start_id,), index id - start_id."""
        return ((self._words[self._starts + 1] >> 24) & 0x7F).astype(np.uint8)

    @cached_property
    def name_offs(self) -> U32s:
        """String offset of the name of each own type; same shape as :attr:`kinds`."""
        return self._words[self._starts]

    def record(self, type_id: int) -> Record:
        """Decode type *type_id*.

        :raises SymbolsError: if there is no such type.
        """
        if self.base and type_id < self.start_id:
            return self.base.record(type_id)
        if not self.start_id <= type_id < self.nr_types:
            raise SymbolsError(f"BTF refers to type {type_id}, which it does not have: the BTF is corrupt")
        at = int(self._starts[type_id - self.start_id])
        name_off, info, size_or_type = self._words[at : at + 3].tolist()
        kind = (info >> 24) & 0x7F
        always, each = _TRAILER[kind]
        end = at + 3 + always + each * (info & 0xFFFFFF)
        return Record(kind, name_off, bool(info >> 31), size_or_type, self._words[at + 3 : end].tolist())

    def string(self, offset: int) -> str:
        """The string at *offset*.

        :raises SymbolsError: if *offset* lies outside the string section.
        """
        if self.base and offset < self._start_str:
            return self.base.string(offset)
        at = offset - self._start_str
        end = self._strings.find(b"\0", at, at + MAX_NAME) if at >= 0 else -1
        if end < 0:
            raise SymbolsError(f"BTF has no string at {offset}, though it refers to it: the BTF is corrupt")
        return self._strings[at:end].decode("utf-8", "backslashreplace")

    def find(self, kind: int, name: str) -> list[int]:
        """Ids of the types of *kind* called *name*, lowest first; the base's before a module's."""
        found = self.base.find(kind, name) if self.base else []
        for offset in self._offsets_of(name):
            rows = _equal_range(*self._by_name, offset)
            found += [int(i) + self.start_id for i in np.sort(rows) if self.kinds[i] == kind]
        return found

    def find_enumerators(self, name: str) -> list[int]:
        """Ids of the enums that have an enumerator called *name*, lowest first."""
        found = self.base.find_enumerators(name) if self.base else []
        for offset in self._offsets_of(name):
            found += [int(i) + self.start_id for i in np.sort(_equal_range(*self._by_enumerator, offset))]
        return found

    @cached_property
    def has_signed_enums(self) -> bool:
        """Whether enums say if they are signed (pahole 1.24+, kernel commit 6089fb325cf7, 6.0)."""
        enums = self._starts[(self.kinds == Kind.ENUM) | (self.kinds == Kind.ENUM64)]
        own = bool((self._words[enums + 1] >> 31).any())
        return own or (self.base is not None and self.base.has_signed_enums)

    def _offsets_of(self, name: str) -> list[int]:
        """String offsets at which types of this blob may find *name*."""
        found = self.base._offsets_of(name) if self.base else []
        own = self._string_offsets.get(name.encode())
        return found if own is None else [*found, own + self._start_str]

    @cached_property
    def _string_offsets(self) -> dict[bytes, int]:
        strings = self._strings.split(b"\0")[:-1]
        ends = np.cumsum(np.fromiter(map(len, strings), np.int64, len(strings)) + 1)
        starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
        return dict(zip(strings, starts.tolist(), strict=True))

    @cached_property
    def _by_name(self) -> tuple[U32s, I64s]:
        order = np.argsort(self.name_offs, kind="stable")
        return self.name_offs[order], order

    @cached_property
    def _by_enumerator(self) -> tuple[U32s, I64s]:
        names, owners = [], []
        for kind, width in ((Kind.ENUM, 2), (Kind.ENUM64, 3)):
            ids = np.flatnonzero(self.kinds == kind)
            at = self._starts[ids]
            count = (self._words[at + 1] & 0xFFFFFF).astype(np.int64)
            first = np.repeat(np.cumsum(count) - count, count)
            nth = np.arange(len(first)) - first
            names.append(self._words[np.repeat(at + 3, count) + nth * width])
            owners.append(np.repeat(ids, count))
        name, owner = np.concatenate(names), np.concatenate(owners)
        order = np.argsort(name, kind="stable")
        return name[order], owner[order]


def _equal_range(keys: U32s, values: I64s, key: int) -> I64s:
    if key > 0xFFFFFFFF:
        return values[:0]
    wanted = np.uint32(key)
    low, high = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
    return values[low:high]


def _sections(data: bytes) -> tuple[memoryview, bytes]:
    """The type section and the string section of *data*; ``hdr_len`` says where they start."""
    if len(data) < _HEADER.size or len(data) > MAX_BYTES:
        raise SymbolsError(f"{len(data)} bytes cannot be BTF")
    magic, version, _, hdr_len, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
    if magic != MAGIC or version != 1:
        raise SymbolsError("no BTF there: its magic number or version is wrong (a foreign byte order?)")
    if hdr_len < _HEADER.size or type_off % 4:
        raise SymbolsError("the BTF header is corrupt")
    if hdr_len + max(type_off + type_len, str_off + str_len) > len(data):
        raise SymbolsError("the BTF is cut off: its sections are longer than it is")
    strings = data[hdr_len + str_off : hdr_len + str_off + str_len]
    if not strings.endswith(b"\0"):
        raise SymbolsError("the BTF string section is corrupt")
    return memoryview(data)[hdr_len + type_off : hdr_len + type_off + type_len], strings


def _walk(words: U32s) -> I64s:
    """Word index of each type; records have different lengths, so this is the one sequential pass."""
    always = [-1] * 128
    each = [0] * 128
    for kind, (fixed, per_vlen) in _TRAILER.items():
        always[kind], each[kind] = fixed + 3, per_vlen
    starts: list[int] = []
    at, end = 0, len(words)
    infos = words.tolist()
    while at + 3 <= end:
        info = infos[at + 1]
        # 5 bits of kind and 16 of vlen, 7 and 24 in 7.2+; the bits between were always zero.
        kind = (info >> 24) & 0x7F
        if always[kind] < 0:
            raise SymbolsError(f"BTF type {len(starts) + 1} is of unknown kind {kind}")
        starts.append(at)
        at += always[kind] + each[kind] * (info & 0xFFFFFF)
    if at != end:
        raise SymbolsError("the last BTF type is cut off")
    return np.array(starts, np.int64)
