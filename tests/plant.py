# SPDX-License-Identifier: LGPL-2.1-or-later
"""Change a kernel's memory where it lies in a core: for tests that corrupt it on purpose."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from pageowner.kernel.kernel_map import virt_to_pfns
from pageowner.kernel.target import PAGE_SHIFT, PAGE_SIZE, Kernel

PT_LOAD = 1


@dataclass(frozen=True)
class Segment:
    offset: int
    physical: int
    size: int


class Planter:
    """Writes to the core at *path*, which pageowner may have open: it reads the file anew each time."""

    def __init__(self, path: Path, kernel: Kernel) -> None:
        self._file: IO[bytes] = path.open("r+b", buffering=0)
        self._kernel = kernel
        self._segments = _segments(self._file)

    def close(self) -> None:
        self._file.close()

    def physical(self, address: int, data: bytes) -> None:
        """Write *data*, which must not cross a page, at a physical address."""
        for segment in self._segments:
            if segment.physical <= address <= segment.physical + segment.size - len(data):
                self._file.seek(segment.offset + address - segment.physical)
                self._file.write(data)
                return
        raise LookupError(f"physical address 0x{address:x} is not in the core")

    def virtual(self, address: int, data: bytes) -> None:
        """The same at a kernel virtual address."""
        pfn = int(virt_to_pfns(self._kernel, np.array([address], np.uint64))[0])
        if pfn < 0:
            raise LookupError(f"nothing is mapped at 0x{address:x}")
        self.physical((pfn << PAGE_SHIFT) + address % PAGE_SIZE, data)

    def word(self, address: int, value: int, size: int = 8) -> None:
        """Write an unsigned number of *size* bytes at a kernel virtual address."""
        self.virtual(address, value.to_bytes(size, "little"))


def _segments(file: IO[bytes]) -> list[Segment]:
    file.seek(0)
    header = file.read(64)
    (start,) = struct.unpack_from("<Q", header, 32)
    size, count = struct.unpack_from("<HH", header, 54)
    if count == 0xFFFF:  # PN_XNUM: the number is in the first section header
        (sections,) = struct.unpack_from("<Q", header, 40)
        file.seek(sections + 44)
        (count,) = struct.unpack("<I", file.read(4))
    found = []
    file.seek(start)
    raw = file.read(size * count)
    for at in range(0, size * count, size):
        kind, _, offset, _, physical, length, _, _ = struct.unpack_from("<IIQQQQQQ", raw, at)
        if kind == PT_LOAD:
            found.append(Segment(offset, physical, length))
    return found
