# SPDX-License-Identifier: LGPL-2.1-or-later
"""ELF cores of x86-64 kernels: QEMU's, kexec's, makedumpfile's; compressed, cut off, without VMCOREINFO.

drgn opens a core whose end is missing by itself, as long as its headers and notes are there;
reads beyond the cut are ``FaultError``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import drgn

from pageowner.errors import SourceError
from pageowner.sources import vmcoreinfo
from pageowner.sources.elfheader import CoreHeader, notes, read_header
from pageowner.sources.excluded import Excluded, excluded_runs
from pageowner.sources.scratch import unpack
from pageowner.sources.sniff import SourceKind, refusal, sniff

_NT_PRPSINFO = 3
# struct new_utsname (include/uapi/linux/utsname.h): sysname, nodename, release, of 65 bytes each.
_UTS_FIELD = 65
_UTS_RELEASE = 2 * _UTS_FIELD


# What drgn opens: a path, or a descriptor, which drgn then owns and closes.
Target = Callable[[], Path | int]


@dataclass
class CoreSource:
    """An opened core.

    ``prog`` reads its memory and knows no types or symbols yet. ``truncated``: part of the dump
    is missing or damaged, so results are partial (exit status 4). ``note``: a line each on what
    is missing or was mended, for standard error.
    """

    prog: drgn.Program
    path: Path
    truncated: bool = False
    note: list[str] = field(default_factory=list)
    excluded: Excluded | None = None
    """Pages that a filter left out of the dump, where the file tells."""
    live: bool = False
    """Whether memory changes while it is read."""


def open_core(path: Path) -> CoreSource:
    """Open an ELF core, compressed or not. Raises ``SourceError``, one line, for all else."""
    found = sniff(path)
    if found.kind is not SourceKind.ELF_CORE:
        raise SourceError(refusal(path, found))
    if not found.compression:
        return open_plain_core(path)
    file, damage = unpack(path, found.compression)
    with file:
        return _open(path, file.fileno(), lambda: os.dup(file.fileno()), damage)


def open_plain_core(path: Path) -> CoreSource:
    """Open what is known to be an ELF core as it is. Raises ``SourceError``."""
    with path.open("rb") as file:
        return _open(path, file.fileno(), lambda: path)


def _open(path: Path, fd: int, target: Target, damage: str | None = None) -> CoreSource:
    try:
        header = read_header(fd)
        prog, mended = _program(fd, header, target)
    except SourceError as error:
        raise SourceError(f"{path} {error}{f' ({damage})' if damage else ''}") from error
    # What makedumpfile -E left out reads as zeros, without a fault; its own zero pages, too, are left out.
    excluded = excluded_runs([(s.address + s.file_size, s.address + s.memory_size) for s in header.loads])
    left_out = f"{excluded.count} pages are excluded from the dump" if excluded.count else None
    missing = f"is cut off: {header.missing} bytes of memory are missing" if header.missing else None
    notes_ = [f"{path}: {line}" for line in (damage, missing, mended, left_out) if line]
    return CoreSource(prog, path, bool(damage or missing), notes_, excluded if excluded.count else None)


def _program(fd: int, header: CoreHeader, target: Target) -> tuple[drgn.Program, str | None]:
    """The opened program, and the note on what had to be mended."""
    prog, failure = _attempt(target, None)
    if prog and _release_agrees(prog) is not False:
        return prog, None
    if not prog and any(n.name == b"CORE" and n.type == _NT_PRPSINFO for n in notes(fd, header)):
        raise SourceError("is the core of a process, not of a kernel")
    for content in vmcoreinfo.scan(fd):
        other, _ = _attempt(target, content)
        if other and _release_agrees(other) is not False:
            return other, "VMCOREINFO is not in its notes; taken from the kernel's copy in memory"
    if prog:
        return prog, "its VMCOREINFO names another Linux release than its memory; trying nevertheless"
    raise SourceError(failure)


def _attempt(target: Target, content: bytes | None) -> tuple[drgn.Program | None, str]:
    """A program for the core, with its own or the given VMCOREINFO; else None and why not."""
    try:
        prog = drgn.Program(vmcoreinfo=content)
        prog.set_core_dump(target())
    except Exception as error:
        # drgn reports libelf's errors as bare Exception, and damaged notes in several classes.
        return None, _why(str(error))
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        return None, _why("unrecognized")
    return prog, ""


def _why(message: str) -> str:
    if "unrecognized" in message:
        return (
            "has no VMCOREINFO, neither in its notes nor in memory: not the core of a Linux kernel, or "
            "only a part of it; for a QEMU guest, add '-device vmcoreinfo' and dump again"
        )
    return f"cannot be opened, it is damaged: {message}"


def _release_agrees(prog: drgn.Program) -> bool | None:
    """Whether VMCOREINFO belongs to the kernel that is in memory; None if that cannot be told."""
    content: bytes = prog["VMCOREINFO"].string_()
    symbol, offset = (
        vmcoreinfo.field(content, n) for n in ("SYMBOL(init_uts_ns)", "OFFSET(uts_namespace.name)")
    )
    try:
        address = int(symbol or "", 16) + int(offset or "") + _UTS_RELEASE
        release: bytes = prog.read(address, _UTS_FIELD)
    except (ValueError, OverflowError, drgn.FaultError):
        return None
    return vmcoreinfo.field(content, "OSRELEASE") == release.split(b"\0")[0].decode("ascii", "replace")
