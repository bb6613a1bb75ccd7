# SPDX-License-Identifier: LGPL-2.1-or-later
"""Room on disk for a decompressed core, and none left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from pageowner.errors import SourceError
from pageowner.sources.compressed import Compression, decompress


def unpack(path: Path, compression: Compression) -> tuple[IO[bytes], str | None]:
    """Decompress ``path`` into a nameless file, zeros as holes; with the note on damage, if any.

    Raises ``SourceError`` when there is no room.
    """
    return nameless(path, lambda out: decompress(path, compression, out))


def nameless(path: Path, fill: Callable[[IO[bytes]], str | None]) -> tuple[IO[bytes], str | None]:
    """A nameless file that *fill* has written the contents of ``path`` to, and what *fill* gave back.

    The file lies in ``$TMPDIR``, else /var/tmp (a core may be larger than a /tmp in memory).
    Raises ``SourceError`` when there is no room.
    """
    directory = scratch_directory()
    file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 (the caller closes it)
    try:
        return file, fill(file)
    except OSError as error:
        file.close()
        raise SourceError(
            f"cannot unpack {path} into {directory}: {error.strerror}; set TMPDIR to a place with room"
        ) from error


def scratch_directory() -> str:
    """Where big temporary files go."""
    if not os.environ.get("TMPDIR") and os.access("/var/tmp", os.W_OK):
        return "/var/tmp"
    return tempfile.gettempdir()
