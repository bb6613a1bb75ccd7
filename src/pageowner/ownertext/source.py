# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening a page_owner text: a file, a pipe or standard input, plain or compressed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from pageowner.errors import SourceError
from pageowner.sources.compressed import Compression, damage, open_stream

BLOCK = 1 << 22
"""Bytes read at once."""


@dataclass
class TextBlocks:
    """The bytes of a text, block by block; ``problem`` afterwards: what kept the rest from being read."""

    stream: BufferedIOBase
    compression: Compression | None = None
    problem: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        held = 0
        try:
            # read1: what precedes the damage is not lost
            while part := self.stream.read1(BLOCK - held):
                parts.append(part)
                held += len(part)
                if held >= BLOCK:
                    yield b"".join(parts)
                    parts, held = [], 0
        except damage() as error:
            label = self.compression.label if self.compression else "text"
            self.problem = f"the {label} data is damaged or cut off ({error})"
        if parts:
            yield b"".join(parts)


@contextmanager
def open_text(path: Path) -> Iterator[TextBlocks]:
    """The text at *path* (``-``: standard input), decompressed.

    :raises SourceError: when it cannot be opened.
    """
    with _opened(path) as file:
        compression = Compression.of(file.peek(16)[:16])
        if compression is None:
            yield TextBlocks(file)
        else:
            with open_stream(cast(BinaryIO, file), compression) as stream:
                yield TextBlocks(stream, compression)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    if str(path) == "-":
        if sys.stdin is None:
            raise SourceError("standard input is closed; name a file")
        yield cast(BufferedReader, sys.stdin.buffer)
        return
    try:
        file = path.open("rb")
        file.peek(1)
    except PermissionError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; try as root, or copy it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise SourceError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    with file:
        yield file
