# SPDX-License-Identifier: LGPL-2.1-or-later
"""Find the kernel's symbol table in its image when VMCOREINFO does not say where it is (before 6.0).

``scripts/kallsyms.c`` of those kernels writes, each aligned to 8 bytes: offsets, relative_base, num_syms,
names, markers (the offset of every 256th name), token_table, token_index. (6.4 moved the offsets to the end,
but says where they are.)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from pageowner.errors import SymbolsError
from pageowner.symbols.vmcoreinfo import Vmcoreinfo

# Digits are used in names, so each of them is a token that stands for itself, one behind the other.
_DIGITS = b"".join(bytes([digit, 0]) for digit in b"0123456789")
_CHUNK = 1 << 20
_PAGE = 4096
MAX_IMAGE = 256 << 20
_MAX_GAP = 32  # unreadable chunks in a row that end the image; text alone may be left out of a dump
_MAX_TABLE = 8 << 10  # bytes of tokens; the longest known is below 2 KiB
_GROUP = 256  # names per marker
_NOT_FOUND = (
    "kallsyms is not where VMCOREINFO says nor in the kernel's image (kernel without CONFIG_KALLSYMS?): "
    "give the kernel's debug file with -s VMLINUX"
)


def find_kallsyms(prog: Program, note: Vmcoreinfo) -> dict[str, int]:
    """Addresses of the tables, named as in VMCOREINFO.

    Reads the image (some 50 MB) once.

    :raises SymbolsError: if they are not there.
    """
    start = note.symbols.get("_stext")
    if not start:
        raise SymbolsError(_NOT_FOUND)
    image = _read_image(prog, start)
    for hit in _hits(image):
        tables = _tables(image, hit)
        if tables:
            return {f"kallsyms_{name}": start + at for name, at in tables.items()} | {"_stext": start}
    raise SymbolsError(_NOT_FOUND)


def _read_image(prog: Program, start: int) -> bytes:
    """The kernel image from *start* on; zeros where it cannot be read."""
    image = bytearray()
    gap = 0
    while len(image) < MAX_IMAGE and gap < _MAX_GAP:
        chunk = _read_around(prog, start + len(image), _CHUNK)
        image += chunk or bytes(_CHUNK)
        gap = 0 if chunk else gap + 1
    return bytes(image)


def _read_around(prog: Program, address: int, size: int) -> bytes:
    """*size* bytes, with zeros for the pages that cannot be read; nothing if that is all of them."""
    try:
        return bytes(prog.read(address, size))
    except FaultError:
        if size <= _PAGE:
            return b""
    half = size // 2
    parts = [_read_around(prog, address, half), _read_around(prog, address + half, half)]
    return b"".join(part or bytes(half) for part in parts) if any(parts) else b""


def _hits(image: bytes) -> Iterator[int]:
    at = image.find(_DIGITS)
    while at >= 0:
        yield at
        at = image.find(_DIGITS, at + 1)


def _tables(image: bytes, digits: int) -> dict[str, int] | None:
    """Where the tables are if the token "0" is at *digits*; None if these are not tokens."""
    tokens = _token_tables(image, digits)
    if tokens is None:
        return None
    table, index = tokens
    for markers in _marker_starts(image, table):
        names = _names_start(image, markers, table)
        if names is not None:
            count = _u32(image, names - 8)
            return {
                "offsets": names - 16 - (4 * count + 7) // 8 * 8,
                "relative_base": names - 16,
                "num_syms": names - 8,
                "names": names,
                "token_table": table,
                "token_index": index,
            }
    return None


def _token_tables(image: bytes, digits: int) -> tuple[int, int] | None:
    """Start of the tokens and of their index: 256 rising numbers, each of which follows a NUL."""
    for index in range(digits // 8 * 8, min(digits + _MAX_TABLE, len(image) - 512), 8):
        starts = np.frombuffer(image, "<u2", 256, index).astype(np.int64)
        table = digits - int(starts[ord("0")])
        if starts[0] or table < 1 or not bool((np.diff(starts) > 0).all()) or table + starts[-1] >= index:
            continue
        before = np.frombuffer(image, np.uint8)[table + starts[1:] - 1]
        if not before.any():
            return table, index
    return None


def _marker_starts(image: bytes, table: int) -> Iterator[int]:
    """Where the markers may start: they rise from 0 to the *table* behind them."""
    for end in (table, table - 4):  # an odd number of them is padded
        at = end - 4
        last = _u32(image, at)
        while at >= 4 and last > 0:
            at -= 4
            before = _u32(image, at)
            if before >= last:
                break
            last = before
        if last == 0 and at < end - 4:
            yield at


def _names_start(image: bytes, markers: int, table: int) -> int | None:
    """Where the names start: behind a count that fits the markers, and with the first group as they say."""
    marks: npt.NDArray[np.uint32] = np.frombuffer(image, "<u4", (table - markers) // 4, markers)
    if len(marks) > 2 and marks[-1] == 0:
        marks = marks[:-1]
    if len(marks) < 2:
        return None
    latest = markers - int(marks[-1])
    for start in range(latest // 8 * 8, max(latest - _GROUP * 129, 8), -8):
        count = _u32(image, start - 8)
        if (count + _GROUP - 1) // _GROUP == len(marks) and _group_size(image, start) == marks[1]:
            return start
    return None


def _group_size(image: bytes, start: int) -> int:
    """Bytes that the first group of names takes; a length is one byte in these kernels."""
    at = start
    for _ in range(_GROUP):
        at += image[at] + 1
    return at - start


def _u32(image: bytes, at: int) -> int:
    return int.from_bytes(image[at : at + 4], "little")
