# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demo: a small core of a real kernel that the package carries, compressed.

It is decompressed once, into ``$XDG_CACHE_HOME/pageowner`` under a name made of its content, and
found there the next time; where that cannot be written, into a temporary file each time.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from importlib.resources import as_file, files
from pathlib import Path

from pageowner.errors import SourceError
from pageowner.sources.compressed import Compression, decompress
from pageowner.sources.elfcore import CoreSource, open_core, open_plain_core

_NAMES = ("demo.core.xz", "demo.core.zst", "demo.core.gz")


def open_demo() -> CoreSource:
    """Open the packaged core. Raises ``SourceError`` if this installation lacks it."""
    data = files("pageowner") / "data"
    packed = next((data / name for name in _NAMES if (data / name).is_file()), None)
    if packed is None:
        raise SourceError("this installation carries no demo core; reinstall, or give a core dump of yours")
    with as_file(packed) as path:
        cached = cached_copy(path)
        return open_plain_core(cached) if cached else open_core(path)


def cached_copy(path: Path) -> Path | None:
    """The decompressed copy of ``path`` in the cache, made if need be; None if it cannot be."""
    directory = cache_directory()
    content = path.read_bytes()
    copy = directory / f"demo-{hashlib.sha256(content).hexdigest()[:16]}.core"
    if copy.is_file():
        return copy
    if not _is_ours(directory):
        return None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _unpack(path, content[:16], copy)
    except OSError:
        return None
    return copy


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/pageowner``, by default in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "pageowner"


def _is_ours(directory: Path) -> bool:
    """Under sudo the home may be the caller's: root's files do not belong there."""
    existing = next(d for d in (directory, *directory.parents) if d.exists())
    return existing.stat().st_uid == os.geteuid()


def _unpack(path: Path, head: bytes, copy: Path) -> None:
    compression = Compression.of(head)
    if compression is None:
        raise SourceError(f"{path} is damaged; reinstall pageowner")
    draft = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as out:
            damage = decompress(path, compression, out)
        if damage:
            raise SourceError(f"{path}: {damage}; reinstall pageowner")
        draft.rename(copy)
    finally:
        draft.unlink(missing_ok=True)
