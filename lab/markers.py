# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the pages of which user space cannot learn the PFN: by the marker in their contents, in the raw core.

Copies that stayed elsewhere do not count: in pages of processes, in pages without an allocation record,
and, where the line says `by=<regular expression>`, in pages whose record's stack does not match it.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

PAGE = 4096
PT_LOAD = 1
MARKER = re.compile(r" marker=([0-9a-f]{32})")
BY = re.compile(r" by=(\S+)")
HEADER = re.compile(r"Page allocated via order (\d+), ")


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


def pieces(file: int, data: mmap.mmap) -> list[tuple[int, int, int]]:
    """The same without the holes of a sparse file, which are most of a large guest's core."""
    found = []
    for offset, paddr, filesz in segments(data):
        at, end = offset, offset + filesz
        while at < end:
            try:
                start = os.lseek(file, at, os.SEEK_DATA)
            except OSError:  # only a hole is left
                break
            at = min(os.lseek(file, start, os.SEEK_HOLE), end)
            if start < at:
                found.append((start, paddr + start - offset, at - start))
            else:
                break
    return found


def places(data: mmap.mmap, parts: list[tuple[int, int, int]], needle: bytes) -> Iterator[int]:
    """Physical addresses at which `needle` stands in these parts of the core."""
    for offset, paddr, size in parts:
        at = data.find(needle, offset, offset + size)
        while at >= 0:
            yield paddr + at - offset
            at = data.find(needle, at + 1, offset + size)


def stacks(page_owner: Path) -> dict[int, str]:
    """PFN -> stack of its allocation, from the kernel's text; empty where that was not saved."""
    found: dict[int, str] = {}
    if not page_owner.exists():
        return found
    for record in page_owner.read_text(errors="replace").split("\n\n"):
        head, pfn = HEADER.search(record), re.search(r"^PFN (\w+) ", record, re.M)
        if head and pfn:
            first = int(pfn[1], 0)
            found |= dict.fromkeys(range(first, first + (1 << int(head[1]))), record)
    return found


def mapped(pagemap: Path) -> set[int]:
    """PFNs that some process maps."""
    entries = struct.iter_unpack("<QQQ", pagemap.read_bytes())
    return {entry & (1 << 55) - 1 for _, _, entry in entries if entry >> 63}


def resolve(folder: Path) -> None:
    """Replace each line of the capture's truth.txt that has a marker by one line per page that holds it."""
    truth, users = folder / "truth.txt", mapped(folder / "pagemap.bin")
    records = stacks(folder / "page_owner.txt")

    def counts(pfn: int, by: str) -> bool:
        return pfn not in users and (not records or re.search(by, records.get(pfn, "")) is not None)

    with (folder / "core").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        lines, parts = [], pieces(file.fileno(), data)
        for line in truth.read_text().splitlines():
            marker, by = MARKER.search(line), BY.search(line)
            if not marker:
                lines.append(line)
                continue
            hits = sorted(set(places(data, parts, bytes.fromhex(marker[1]))))
            good = [hit for hit in hits if counts(hit // PAGE, by[1] if by else "PFN")]
            lines += [f"{line} pfn=0x{hit // PAGE:x} page_off=0x{hit % PAGE:x}" for hit in good]
            if not good:
                lines.append(f"SKIP {line.split(' ', 1)[1]} why=marker\\040not\\040found")
    truth.write_text("\n".join(lines) + "\n")
