# SPDX-License-Identifier: LGPL-2.1-or-later
"""A drgn program over a few kilobytes of made-up kernel memory."""

from __future__ import annotations

import struct

import drgn
from drgn import Program

BASE = 0xFFFF888000000000


class Memory:
    """Memory that grows as things are put into it; what was never put faults."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.prog = Program(drgn.Platform(drgn.Architecture.X86_64))
        self.prog.add_memory_segment(BASE, 1 << 24, self._read)

    def put(self, data: bytes) -> int:
        """Append *data*, aligned to 8 bytes; its address."""
        self._data += bytes(-len(self._data) % 8)
        self._data += data
        return BASE + len(self._data) - len(data)

    def words(self, *values: int) -> int:
        """Append 64-bit *values*; the address of the first."""
        return self.put(struct.pack(f"<{len(values)}Q", *values))

    def patch(self, address: int, *values: int) -> None:
        """Overwrite 64-bit words at *address*."""
        at = address - BASE
        self._data[at : at + 8 * len(values)] = struct.pack(f"<{len(values)}Q", *values)

    def _read(self, address: int, size: int, offset: int, physical: bool) -> bytes:
        if offset + size > len(self._data):
            raise drgn.FaultError("not in the dump", address)
        return bytes(self._data[offset : offset + size])
