# SPDX-License-Identifier: LGPL-2.1-or-later
"""The headers of an ELF core: enough to say what is wrong with it before drgn opens it.

Layout: elf(5), Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr, Elf64_Nhdr.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pageowner.errors import SourceError

EM_X86_64 = 62
PT_LOAD = 1
PT_NOTE = 4
_PN_XNUM = 0xFFFF
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR_SIZE = 64
_MOST = 1 << 62
_SH_INFO_OFFSET = 44
_NHDR = struct.Struct("<III")
# The notes of a core are one NT_PRSTATUS per CPU and VMCOREINFO: far below this on any machine.
_MAX_NOTE_BYTES = 64 << 20

_MACHINES = {
    3: "i386",
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC64",
    22: "s390x",
    40: "ARM",
    183: "AArch64",
    243: "RISC-V",
    258: "LoongArch",
}


@dataclass(frozen=True)
class Segment:
    """One program header: where its bytes are in the file, and what physical memory they are."""

    type: int
    offset: int
    file_size: int
    address: int
    memory_size: int

    @property
    def end(self) -> int:
        """The file offset behind the last byte."""
        return self.offset + self.file_size


@dataclass(frozen=True)
class Note:
    """One note; ``name`` without its NUL."""

    name: bytes
    type: int
    content: bytes


@dataclass(frozen=True)
class CoreHeader:
    """Of a 64-bit little-endian x86-64 core: ``segments`` with bytes in the file, file size in bytes."""

    segments: tuple[Segment, ...]
    file_size: int

    @property
    def loads(self) -> list[Segment]:
        """The segments that are memory."""
        return [s for s in self.segments if s.type == PT_LOAD]

    @property
    def missing(self) -> int:
        """Bytes of memory that the headers promise and the file has not."""
        return sum(min(s.file_size, max(0, s.end - self.file_size)) for s in self.loads)


def read_header(fd: int) -> CoreHeader:
    """Read the headers of the core open as ``fd``.

    Raises ``SourceError``, without the path, where no core of this kind can be read.
    """
    size = os.fstat(fd).st_size
    raw = os.pread(fd, _EHDR.size, 0)
    if len(raw) < _EHDR.size:
        raise SourceError("is cut off inside its ELF header; get the whole file")
    _check_machine(raw)
    _, _, _, _, _, phoff, shoff, _, _, phentsize, phnum, _, _, _ = _EHDR.unpack(raw)
    if phnum == _PN_XNUM:
        phnum = _extended_count(fd, shoff, size)
    if phentsize != _PHDR.size or not phnum:
        raise SourceError("has a damaged ELF header: no program headers")
    if phoff + phnum * _PHDR.size > size:
        raise SourceError("is cut off inside its program headers, or these are damaged; get the whole file")
    headers = os.pread(fd, phnum * _PHDR.size, phoff)
    segments = tuple(_segment(fields) for fields in _PHDR.iter_unpack(headers))
    return _checked(CoreHeader(segments, size))


def notes(fd: int, header: CoreHeader) -> Iterator[Note]:
    """The core's notes, as far as they are sound."""
    for segment in header.segments:
        whole = segment.file_size <= _MAX_NOTE_BYTES and segment.end <= header.file_size
        if segment.type == PT_NOTE and whole:
            yield from _notes_in(os.pread(fd, segment.file_size, segment.offset))


def _check_machine(raw: bytes) -> None:
    wide, little = raw[4] == 2, raw[5] == 1
    machine = struct.unpack_from("<H" if little else ">H", raw, 18)[0]
    if machine != EM_X86_64:
        name = _MACHINES.get(machine, f"number {machine}")
        raise SourceError(f"is a core of another architecture ({name}); this version reads x86-64 only")
    if not (wide and little):
        raise SourceError("is not a 64-bit little-endian core; dump it in ELF64 format")


def _extended_count(fd: int, shoff: int, size: int) -> int:
    if shoff + _SHDR_SIZE > size:
        raise SourceError("has a damaged ELF header: its number of program headers is missing")
    section = os.pread(fd, _SHDR_SIZE, shoff)
    return int(struct.unpack_from("<I", section, _SH_INFO_OFFSET)[0])


def _segment(fields: tuple[int, ...]) -> Segment:
    kind, _, offset, _, address, file_size, memory_size, _ = fields
    return Segment(kind, offset, file_size, address, memory_size)


def _checked(header: CoreHeader) -> CoreHeader:
    if any(max(s.end, s.address + s.memory_size) > _MOST for s in header.loads):
        # drgn would open it, and then raise OSError instead of FaultError from reads.
        raise SourceError("has damaged program headers: a segment lies where no file or memory can be")
    total = sum(s.file_size for s in header.loads)
    if not total:
        raise SourceError("has no memory in it; get a core of the whole machine")
    if header.missing == total:
        raise SourceError("is cut off before its memory begins; get the whole file")
    return header


def _notes_in(data: bytes) -> Iterator[Note]:
    position = 0
    while position + _NHDR.size <= len(data):
        name_size, size, kind = _NHDR.unpack_from(data, position)
        name_at = position + _NHDR.size
        at = name_at + _aligned(name_size)
        if at + size > len(data):
            return
        yield Note(data[name_at : name_at + name_size].rstrip(b"\0"), kind, data[at : at + size])
        position = at + _aligned(size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3
