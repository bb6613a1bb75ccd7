# SPDX-License-Identifier: LGPL-2.1-or-later
"""gzip, xz and zstd files, read as streams."""

from __future__ import annotations

import gzip
import lzma
import sys
import zlib
from enum import Enum
from io import BufferedIOBase
from pathlib import Path
from typing import IO, BinaryIO, cast

_BLOCK = 1 << 20
_ZEROS = bytes(1 << 16)
# zstd --long=29 and below; a header that asks for more memory than this is refused.
_MAX_ZSTD_WINDOW_LOG = 29


class Compression(Enum):
    """How a file is compressed: its name in messages, and the bytes that it begins with."""

    GZIP = "gzip", b"\x1f\x8b\x08"
    XZ = "xz", b"\xfd7zXZ\x00"
    ZSTD = "zstd", b"\x28\xb5\x2f\xfd"

    @property
    def label(self) -> str:
        """The name for messages."""
        return self.value[0]

    @classmethod
    def of(cls, head: bytes) -> Compression | None:
        """The compression that a file beginning with ``head`` has, if any."""
        return next((each for each in cls if head.startswith(each.value[1])), None)


def open_stream(path: Path | BinaryIO, compression: Compression) -> BufferedIOBase:
    """The decompressed bytes of a file, given by name or opened. Reading may raise one of ``damage()``."""
    if compression is Compression.GZIP:
        return cast(BufferedIOBase, gzip.open(path, "rb"))
    if compression is Compression.XZ:
        return cast(BufferedIOBase, lzma.open(path, "rb"))
    return _open_zstd(path)


def damage() -> tuple[type[BaseException], ...]:
    """What reading a damaged or cut-off stream raises."""
    return (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, _zstd_error())


def decompress(path: Path, compression: Compression, out: IO[bytes]) -> str | None:
    """Write a file's decompressed bytes to ``out``, zeros as holes, as far as they can be had.

    A damaged stream is no error: the line that says so comes back, and None when nothing is
    wrong as far as one can tell (zstd's end is not marked). ``OSError`` comes through (a full disk).
    """
    try:
        with open_stream(path, compression) as stream:
            # read1: what precedes the damage is not lost
            while block := stream.read1(_BLOCK):
                _write_sparse(block, out)
    except damage() as error:
        problem = str(error) or type(error).__name__
        return f"the {compression.label} data is damaged or cut off after {out.tell()} bytes ({problem})"
    finally:
        out.truncate()
        out.flush()
    return None


def _write_sparse(block: bytes, out: IO[bytes]) -> None:
    for start in range(0, len(block), len(_ZEROS)):
        piece = block[start : start + len(_ZEROS)]
        if piece == _ZEROS:
            out.seek(len(piece), 1)
        else:
            out.write(piece)


def _open_zstd(path: Path | BinaryIO) -> BufferedIOBase:
    if sys.version_info >= (3, 14):
        from compression import zstd

        options = {zstd.DecompressionParameter.window_log_max: _MAX_ZSTD_WINDOW_LOG}
        return cast(BufferedIOBase, zstd.open(path, "rb", options=options))
    import zstandard

    context = zstandard.ZstdDecompressor(max_window_size=1 << _MAX_ZSTD_WINDOW_LOG)
    # Where the input ends inside a frame, this reader just ends: who reads must know the size.
    file = path.open("rb") if isinstance(path, Path) else path
    return cast(BufferedIOBase, context.stream_reader(file, read_across_frames=True))


def _zstd_error() -> type[BaseException]:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdError
    import zstandard

    return zstandard.ZstdError
