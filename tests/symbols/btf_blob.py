# SPDX-License-Identifier: LGPL-2.1-or-later
"""Build small BTF blobs by hand."""

from __future__ import annotations

import struct

from pageowner.symbols.btf import Kind

Member = tuple[str, int, int]


class Blob:
    """Adds types one by one; each method returns the new type's id.

    :param first_id: and *first_string*: where a split blob's ids and string offsets start.
    """

    def __init__(self, first_id: int = 1, first_string: int = 0) -> None:
        self.next_id = first_id
        self._first_string = first_string
        self._strings = b"\0"
        self._types = b""

    def string(self, text: str) -> int:
        found = self._strings.find(b"\0" + text.encode() + b"\0")
        if not text:
            return 0
        if found >= 0:
            return self._first_string + found + 1
        self._strings += text.encode() + b"\0"
        return self._first_string + len(self._strings) - len(text.encode()) - 1

    def add(
        self, kind: int, name: str, size_or_type: int, *words: int, vlen: int = 0, kflag: bool = False
    ) -> int:
        info = kflag << 31 | kind << 24 | vlen
        row = [self.string(name), info, size_or_type, *words]
        self._types += struct.pack(f"<{len(row)}I", *(word & 0xFFFFFFFF for word in row))
        self.next_id += 1
        return self.next_id - 1

    def int(self, name: str, size: int, encoding: int = 0) -> int:
        return self.add(Kind.INT, name, size, encoding << 24 | size * 8)

    def pointer(self, to: int) -> int:
        return self.add(Kind.PTR, "", to)

    def array(self, of: int, length: int) -> int:
        return self.add(Kind.ARRAY, "", 0, of, of, length)

    def compound(self, kind: Kind, name: str, size: int, members: list[Member], kflag: bool = False) -> int:
        """*members*: (name, type, bit offset), with *kflag* the width of a bit-field in its upper 8 bits."""
        words = [word for n, t, offset in members for word in (self.string(n), t, offset)]
        return self.add(kind, name, size, *words, vlen=len(members), kflag=kflag)

    def struct(self, name: str, size: int, members: list[Member], kflag: bool = False) -> int:
        return self.compound(Kind.STRUCT, name, size, members, kflag)

    def enum(self, name: str, values: dict[str, int], size: int = 4, kflag: bool = False) -> int:
        words = [word for n, v in values.items() for word in (self.string(n), v)]
        return self.add(Kind.ENUM, name, size, *words, vlen=len(values), kflag=kflag)

    def build(self, hdr_len: int = 24) -> bytes:
        header = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, hdr_len, 0, len(self._types), len(self._types), len(self._strings)
        )
        return header.ljust(hdr_len, b"\0") + self._types + self._strings
