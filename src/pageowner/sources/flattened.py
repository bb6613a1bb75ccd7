# SPDX-License-Identifier: LGPL-2.1-or-later
"""Flattened dumps: what ``makedumpfile -F`` writes to a pipe, put in order again.

A header of 4096 bytes, then records {big-endian int64 offset, int64 size, data} up to offset = size
= -1. Offsets are in no order, later records overwrite earlier ones, gaps are zeros.
"""

from __future__ import annotations

import struct
from io import BufferedIOBase
from typing import IO

from pageowner.sources.compressed import damage

SIGNATURE = b"makedumpfile\0"
_HEADER = 4096
_RECORD = struct.Struct(">qq")
_BLOCK = 1 << 20
# No dump is larger than what a file can be asked to be; a record that says so is damaged.
_MOST = 1 << 56


def unflatten(stream: BufferedIOBase | IO[bytes], out: IO[bytes]) -> str | None:
    """Write the plain dump to ``out``; the line on what is missing, or None if the stream was whole."""
    try:
        stream.read(_HEADER)
        while record := stream.read(_RECORD.size):
            if len(record) < _RECORD.size:
                break
            offset, size = _RECORD.unpack(record)
            if offset == size == -1:
                return None
            if not (0 <= offset < _MOST and 0 <= size < _MOST):
                return "the flattened stream is damaged: a record lies where no file can be"
            if not _copy(stream, out, offset, size):
                break
    except damage() as error:
        return f"the compressed data is damaged ({error})"
    finally:
        out.flush()
    return "the flattened stream has no end: it was cut off"


def _copy(stream: BufferedIOBase | IO[bytes], out: IO[bytes], offset: int, size: int) -> bool:
    """Whether all *size* bytes were there."""
    out.seek(offset)
    while size:
        block = stream.read(min(size, _BLOCK))
        if not block:
            return False
        out.write(block)
        size -= len(block)
    return True
