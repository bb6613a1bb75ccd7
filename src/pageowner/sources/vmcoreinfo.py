# SPDX-License-Identifier: LGPL-2.1-or-later
"""VMCOREINFO where the dump's notes have none: the kernel keeps its own copy in memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator

# The note as update_vmcoreinfo_note() (kernel/vmcore_info.c, before 6.9 kernel/crash_core.c)
# builds it: name size, content size, type 0, name, padding; OSRELEASE comes first in the content.
_NAME = b"VMCOREINFO\0\0"
_PATTERN = _NAME + b"OSRELEASE="
_SIZES = struct.Struct("<III")
# VMCOREINFO_BYTES is one page.
_MAX_BYTES = 4096
_CHUNK = 16 << 20
_MOST = 16


def scan(fd: int) -> Iterator[bytes]:
    """The contents of VMCOREINFO notes found anywhere in a file, 16 different ones at most.

    A machine that has rebooted or booted by kexec may hold some of earlier kernels.
    """
    return scan_with(lambda size, start: os.pread(fd, size, start), os.fstat(fd).st_size)


def scan_with(pread: Callable[[int, int], bytes], total: int) -> Iterator[bytes]:
    """The same in *total* bytes of what ``pread(size, start)`` reads; it may give less, or nothing."""
    seen: set[bytes] = set()
    for position in _positions(pread, total):
        content = _content_at(pread, position)
        if content and content not in seen:
            seen.add(content)
            yield content
        if len(seen) >= _MOST:
            return


def field(vmcoreinfo: bytes, name: str) -> str | None:
    """The value of ``name=`` in a VMCOREINFO."""
    prefix = f"{name}=".encode()
    for line in vmcoreinfo.split(b"\n"):
        if line.startswith(prefix):
            return line[len(prefix) :].decode("ascii", "replace")
    return None


def _positions(pread: Callable[[int, int], bytes], total: int) -> Iterator[int]:
    overlap = len(_PATTERN) - 1
    for start in range(0, total, _CHUNK):
        chunk = pread(_CHUNK + overlap, start)
        found = chunk.find(_PATTERN)
        while found >= 0:
            yield start + found
            found = chunk.find(_PATTERN, found + 1)


def _content_at(pread: Callable[[int, int], bytes], position: int) -> bytes | None:
    before = position - _SIZES.size
    if before < 0:
        return None
    sizes = pread(_SIZES.size, before)
    if len(sizes) < _SIZES.size:
        return None
    name_size, size, kind = _SIZES.unpack(sizes)
    if (name_size, kind) != (len(b"VMCOREINFO\0"), 0) or not 0 < size <= _MAX_BYTES:
        return None
    content = pread(size, position + len(_NAME))
    return content if len(content) == size else None
