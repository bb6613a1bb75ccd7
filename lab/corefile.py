# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes an ELF core with some pages of another: one PT_LOAD per run of kept pages, none for the rest."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lab.markers import PT_LOAD, segments

PAGE = 4096
HEADER, PROGRAM_HEADER = 64, 56
PT_NOTE = 4
RWX = 7


def filter_core(source: Path, keep: np.ndarray, out: Path) -> int:
    """Write the pages of `source` whose PFN is True in `keep`; gives their number."""
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        runs = list(kept_runs(data, keep))
        note = find_note(data)
        at = HEADER + PROGRAM_HEADER * (len(runs) + 1)
        headers = [struct.pack("<IIQQQQQQ", PT_NOTE, 0, at, 0, 0, len(note), len(note), 4)]
        at = -(-(at + len(note)) // PAGE) * PAGE
        with out.open("wb") as core:
            for offset, paddr, size in runs:
                headers.append(struct.pack("<IIQQQQQQ", PT_LOAD, RWX, at, 0, paddr, size, size, PAGE))
                core.seek(at)
                core.write(data[offset : offset + size])
                at += size
            core.seek(0)
            core.write(elf_header(data, len(headers)) + b"".join(headers) + note)
    return sum(size for _, _, size in runs) // PAGE


def kept_runs(data: mmap.mmap, keep: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(file offset, physical address, bytes) of each run of kept pages."""
    for offset, paddr, size in segments(data):
        first, n = paddr // PAGE, size // PAGE
        wanted = np.zeros(n + 2, dtype=bool)
        part = keep[first : first + n]
        wanted[1 : 1 + len(part)] = part
        edges = np.flatnonzero(wanted[1:] != wanted[:-1]).tolist()
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            yield offset + start * PAGE, paddr + start * PAGE, (end - start) * PAGE


def find_note(data: mmap.mmap) -> bytes:
    (phoff,) = struct.unpack_from("<Q", data, 32)
    for i in range(struct.unpack_from("<H", data, 56)[0]):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, phoff + i * PROGRAM_HEADER)
        if kind == PT_NOTE:
            return bytes(data[offset : offset + size])
    raise ValueError("the core has no notes")


def elf_header(data: mmap.mmap, count: int) -> bytes:
    """The source's header with the program headers right behind it, and no section headers."""
    if count > 0xFFFF - 1:
        raise ValueError(f"{count} runs of pages do not fit into an ELF header")
    head = bytearray(data[:HEADER])
    struct.pack_into("<QQ", head, 32, HEADER, 0)
    struct.pack_into("<HHHHH", head, 54, PROGRAM_HEADER, count, 0, 0, 0)
    return bytes(head)
