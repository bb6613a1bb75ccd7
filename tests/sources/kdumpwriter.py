# SPDX-License-Identifier: LGPL-2.1-or-later
"""kdump-compressed files, made from the pages of an ELF core: the layout that makedumpfile writes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import zstandard

PAGE = 4096
UTSNAME = (b"Linux", b"host", b"6.12.1-test", b"#1", b"x86_64", b"(none)")


def snappy(page: bytes) -> bytes:
    """The page as one literal of snappy's format: valid, if not smaller."""
    length, out = len(page), bytearray()
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(out) + bytes([length, 61 << 2]) + struct.pack("<H", len(page) - 1) + page


CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "plain": (0, bytes),
    "zlib": (1, lambda page: zlib.compress(page, 1)),
    "snappy": (4, snappy),
    "zstd": (0x20, zstandard.ZstdCompressor(level=1).compress),
}


def elf_pages(core: bytes) -> dict[int, bytes]:
    """PFN -> page of an ELF core whose segments are whole pages."""
    return {
        (paddr + skip) // PAGE: core[offset + skip : offset + skip + PAGE]
        for kind, offset, paddr, size in _segments(core)
        if kind == 1
        for skip in range(0, size, PAGE)
    }


def elf_note(core: bytes) -> bytes:
    """The content of the VMCOREINFO note of an ELF core."""
    at = core.index(b"VMCOREINFO\0\0OSRELEASE=")
    (size,) = struct.unpack_from("<I", core, at - 8)
    return core[at + 12 : at + 12 + size]


def _segments(core: bytes) -> Iterator[tuple[int, int, int, int]]:
    (at,) = struct.unpack_from("<Q", core, 32)
    for i in range(struct.unpack_from("<H", core, 56)[0]):
        kind, _, offset, _, paddr, size = struct.unpack_from("<IIQQQQ", core, at + 56 * i)
        yield kind, offset, paddr, size


def kdump(
    pages: dict[int, bytes],
    note: bytes,
    left_out: set[int] = frozenset(),  # type: ignore[assignment]
    codec: str = "zlib",
    *,
    utsname: tuple[bytes, ...] = UTSNAME,
    level: int = 31,
    status: int = 1,
    pack: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """A kdump-compressed file of *pages*; *left_out*: PFNs of memory not in it; the rest is holes.

    *pack* compresses as *codec* does, better.
    """
    count = max([*pages, *left_out]) + 1
    half = -(-(count // 8 + 1) // PAGE) * PAGE
    head = b"KDUMP   " + struct.pack("<i", 6) + b"".join(name.ljust(65, b"\0") for name in utsname)
    head = head.ljust(424, b"\0") + struct.pack("<IiiiI", status, PAGE, 1, 2 * half // PAGE, count)
    # The ELF note, and where its content lies in it: readers of version 4 and later take the whole note.
    start = struct.pack("<III", 11, len(note), 0) + b"VMCOREINFO\0\0"
    notes = start + note + bytes(-len(note) % 4) if note else b""
    places = (PAGE + 512 + 24, len(note), PAGE + 512, len(notes))
    sub = struct.pack("<Qiixxxx", 0, level, 0).ljust(32, b"\0") + struct.pack("<4Q", *places)
    sub = (sub.ljust(96, b"\0") + struct.pack("<Q", count)).ljust(512, b"\0") + notes
    kept = sorted(set(pages) - left_out)
    flag, simple = CODECS[codec]
    bodies = [(pack or simple)(pages[pfn]) for pfn in kept]
    at = 2 * PAGE + 2 * half + 24 * len(kept)
    ends = at + np.cumsum([len(body) for body in bodies])
    descriptors = b"".join(
        struct.pack("<QIIQ", end - len(body), len(body), flag, 0)
        for end, body in zip(ends, bodies, strict=True)
    )
    bitmaps = _bitmap(set(pages) | left_out, half) + _bitmap(set(kept), half)
    return head.ljust(PAGE, b"\0") + sub.ljust(PAGE, b"\0") + bitmaps + descriptors + b"".join(bodies)


def _bitmap(pfns: set[int], size: int) -> bytes:
    bits = np.zeros(size * 8, np.uint8)
    bits[list(pfns)] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def flatten(dump: bytes, block: int = 100_000) -> bytes:
    """What ``makedumpfile -F`` would have written to a pipe: blocks out of order, one of them twice."""
    head = b"makedumpfile\0".ljust(16, b"\0") + struct.pack(">qq", 1, 1)
    starts = list(range(0, len(dump), block))
    order = [*reversed(starts), starts[0]]
    records = [struct.pack(">qq", at, len(dump[at : at + block])) + dump[at : at + block] for at in order]
    wrong = struct.pack(">qq", 0, 8) + b"rubbish!"  # overwritten by what follows
    return head.ljust(4096, b"\0") + wrong + b"".join(records) + struct.pack(">qq", -1, -1)


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
