# SPDX-License-Identifier: LGPL-2.1-or-later
"""kdump-compressed files, whole or filtered: makedumpfile's (zlib, lzo, snappy, zstd) and QEMU's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import drgn

from pageowner.errors import SourceError
from pageowner.sources.compressed import Compression, open_stream
from pageowner.sources.elfcore import CoreSource
from pageowner.sources.flattened import unflatten
from pageowner.sources.kdumpheader import KdumpHeader, read_kdump_header
from pageowner.sources.scratch import nameless, unpack


def open_kdump(path: Path, compression: Compression | None = None) -> CoreSource:
    """Open a kdump-compressed file, itself compressed or not. Raises ``SourceError``, one line."""
    if compression:
        file, damage = unpack(path, compression)
        return _open(path, file, damage)
    return _open(path, path.open("rb"), None)


def open_flattened(path: Path, compression: Compression | None = None) -> CoreSource:
    """Open a flattened one by way of a nameless file in which it is put in order."""
    stream = open_stream(path, compression) if compression else path.open("rb")
    with stream:
        file, damage = nameless(path, lambda out: unflatten(stream, out))
    return _open(path, file, damage)


def _open(path: Path, file: IO[bytes], damage: str | None) -> CoreSource:
    with file:
        try:
            header = read_kdump_header(file.fileno())
            prog = _program(os.dup(file.fileno()), header.survey.methods)
        except SourceError as error:
            raise SourceError(f"{path} {error}{f' ({damage})' if damage else ''}") from error
        excluded, gone = header.excluded, _gone(header)
        for first, end in header.survey.ranges:
            # libkdumpfile gives zeros where the file ends inside a page that is not compressed.
            prog.add_memory_segment(first << 12, (end - first) << 12, _missing, physical=True)
    left_out = f"{excluded.count} pages are excluded from the dump (dump level {header.dump_level})"
    lines = [line for line in (damage, gone, left_out if excluded.count else None) if line]
    notes = [f"{path}: {line}" for line in lines]
    return CoreSource(prog, path, bool(damage or gone), notes, excluded if excluded.count else None)


def _missing(address: int, count: int, offset: int, physical: bool) -> bytes:
    raise drgn.FaultError("the dump is cut off before this page", address)


def _gone(header: KdumpHeader) -> str | None:
    if header.survey.missing:
        return f"is cut off: {header.survey.missing} pages of memory are missing"
    return "makedumpfile could not write all of it (was the disk full?)" if header.incomplete else None


def _program(fd: int, methods: list[str]) -> drgn.Program:
    prog, failure = _attempt(fd, None)
    if prog is None:
        # QEMU's own kdump names the machine but no system, so libkdumpfile knows no architecture.
        prog, failure = _attempt(fd, drgn.Platform(drgn.Architecture.X86_64))
    os.close(fd)
    if prog is None:
        used = f"; its pages are compressed with {' and '.join(methods)}" if methods else ""
        raise SourceError(f"cannot be opened ({failure}{used}); get the whole file again, or an ELF core")
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise SourceError("has no VMCOREINFO: not the dump of a Linux kernel, or only a part of it")
    return prog


def _attempt(fd: int, platform: drgn.Platform | None) -> tuple[drgn.Program | None, str]:
    prog = drgn.Program(platform)
    try:
        prog.set_core_dump(os.dup(fd))
    except Exception as error:
        # libkdumpfile's errors come as bare Exception, and in several other classes.
        return None, str(error).splitlines()[0] if str(error) else type(error).__name__
    return prog, ""
