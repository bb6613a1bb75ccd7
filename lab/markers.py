# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the pages of which user space cannot learn the PFN: by the marker in their contents, in the raw core."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path

PAGE = 4096
PT_LOAD = 1
MARKER = re.compile(r" marker=([0-9a-f]{32})")


def segments(data: bytes | mmap.mmap) -> list[tuple[int, int, int]]:
    """(file offset, physical address, bytes in the file) of each PT_LOAD of an ELF64 core."""
    (phoff,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    found = []
    for i in range(count):
        kind, _, offset, _, paddr, filesz = struct.unpack_from("<IIQQQQ", data, phoff + i * size)
        if kind == PT_LOAD:
            found.append((offset, paddr, filesz))
    return found


def places(data: mmap.mmap, needle: bytes) -> Iterator[int]:
    """Physical addresses at which `needle` stands."""
    for offset, paddr, filesz in segments(data):
        at = data.find(needle, offset, offset + filesz)
        while at >= 0:
            yield paddr + at - offset
            at = data.find(needle, at + 1, offset + filesz)


def resolve(truth: Path, core: Path) -> None:
    """Replace each line of truth.txt that has a marker by one line per page that holds it."""
    with core.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        lines = []
        for line in truth.read_text().splitlines():
            lines += _resolve_line(line, data)
    truth.write_text("\n".join(lines) + "\n")


def _resolve_line(line: str, data: mmap.mmap) -> list[str]:
    found = MARKER.search(line)
    if not found:
        return [line]
    hits = sorted(set(places(data, bytes.fromhex(found[1]))))
    if not hits:
        return [line + " pfn=none"]
    return [f"{line} pfn=0x{hit // PAGE:x} page_off=0x{hit % PAGE:x}" for hit in hits]
