# SPDX-License-Identifier: LGPL-2.1-or-later
"""Output files appear whole or not at all, and never over another file unless told to."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pageowner.errors import PageownerError


@contextmanager
def open_output(path: Path | None, force: bool = False) -> Iterator[BinaryIO]:
    """A binary stream: standard output for None or ``-``, else the file ``path``.

    The file is written under another name beside it and renamed when the block ends well; after
    an error nothing is left. Devices and pipes are written directly. Raises ``PageownerError``
    if ``path`` exists (without ``force``) or cannot be written.
    """
    if path is None or str(path) == "-":
        if sys.stdout is None:
            raise PageownerError("standard output is closed; use -o FILE")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif _is_regular_or_new(path):
        with _renamed(_target(path, force)) as out:
            yield out
    else:
        with _open(path, os.O_WRONLY) as out:
            yield out


def _is_regular_or_new(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    if stat.S_ISDIR(mode):
        raise PageownerError(f"{path} is a directory; name a file in it")
    return stat.S_ISREG(mode)


def _target(path: Path, force: bool) -> Path:
    if path.exists() and not force:
        raise PageownerError(f"{path} exists; use -f to overwrite it, or another name")
    return Path(os.path.realpath(path))  # a symbolic link stays one


@contextmanager
def _renamed(path: Path) -> Iterator[BinaryIO]:
    draft = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    try:
        with _open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as out:
            yield out
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _open(path: Path, flags: int) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, flags | os.O_CLOEXEC, 0o666), "wb")
    except OSError as error:
        raise PageownerError(f"cannot write in {path.parent}: {error.strerror}") from error
