# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a path is, told from its first bytes, and what to say to those who cannot be opened."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from pageowner.errors import SourceError
from pageowner.sources.compressed import Compression, damage, open_stream
from pageowner.sources.selection import SourceSelection

_HEAD = 1 << 16
_ET_CORE = 4
#: Files by which a directory is known as a snapshot.
_SNAPSHOT_FILES = ("meta.json", "manifest.json")


class SourceKind(Enum):
    """What a file or directory can be."""

    ELF_CORE = auto()
    ELF_OTHER = auto()
    KDUMP = auto()
    DISKDUMP = auto()
    FLATTENED = auto()
    KERNEL_IMAGE = auto()
    TAR = auto()
    OWNERTEXT = auto()
    SNAPSHOT = auto()
    DIRECTORY = auto()
    LIVE_KCORE = auto()
    EMPTY = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Sniffed:
    """``kind`` of what is inside; ``compression`` is None for a file as it is."""

    kind: SourceKind
    compression: Compression | None = None


def sniff(path: Path) -> Sniffed:
    """Find out what ``path`` is. Raises ``SourceError`` when that cannot be read at all."""
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        known = any((path / name).is_file() for name in _SNAPSHOT_FILES)
        return Sniffed(SourceKind.SNAPSHOT if known else SourceKind.DIRECTORY)
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path} is a device or a pipe; copy the core to a file first")
    if is_kcore(path):
        return Sniffed(SourceKind.LIVE_KCORE)
    head = _head(path)
    compression = Compression.of(head)
    if compression:
        head = _head_inside(path, compression)
    return Sniffed(_kind_of(head), compression)


def is_kcore(path: Path) -> bool:
    """Whether *path* is the live kernel."""
    try:
        return path.resolve() == Path("/proc/kcore")
    except (OSError, ValueError, RuntimeError):
        return False


def refusal(path: Path, found: Sniffed) -> str:
    """The line for a path that is no core which opens: what it is, and what to do."""
    inside = f"{path}, {found.compression.label}-compressed," if found.compression else str(path)
    return f"{inside} {_REFUSALS[found.kind]}"


_REFUSALS = {
    SourceKind.ELF_CORE: "is an ELF core dump inside another file; unpack it first",
    SourceKind.ELF_OTHER: "is an ELF file but no core dump; if it is the kernel's vmlinux, did you mean -s?",
    SourceKind.KDUMP: "is a kdump-compressed dump, not an ELF core",
    SourceKind.DISKDUMP: "is a diskdump; only ELF cores and kdump-compressed files can be opened",
    SourceKind.FLATTENED: "is a flattened dump, not an ELF core",
    SourceKind.KERNEL_IMAGE: "is a kernel image, not a core dump",
    SourceKind.TAR: "is a tar archive; unpack it and name the core in it",
    SourceKind.OWNERTEXT: "is a page_owner text: the memory itself is not in it; give a core dump, or use "
    "'pageowner summary' or 'report', which read texts",
    SourceKind.SNAPSHOT: "is a snapshot: the memory itself is not in it; give a core dump, or use "
    "'pageowner summary' or 'diff', which read snapshots",
    SourceKind.DIRECTORY: "is a directory; name the core dump in it",
    SourceKind.LIVE_KCORE: "is the live kernel, which changes while it is read; give a core dump of it",
    SourceKind.EMPTY: "is empty; was the dump cut short, or the disk full?",
    SourceKind.OTHER: "is not a core dump (no known format begins like this)",
}


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise SourceError(f"cannot open {path}: {error}") from error


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except PermissionError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; try as root, or copy it") from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def _head_inside(path: Path, compression: Compression) -> bytes:
    """The first decompressed bytes; as many as could be had of a damaged file."""
    head = b""
    try:
        with open_stream(path, compression) as stream:
            while len(head) < _HEAD and (more := stream.read(_HEAD - len(head))):
                head += more
    except damage() as error:
        if not head:
            raise SourceError(f"{path}: the {compression.label} data is damaged ({error})") from error
    return head


def _kind_of(head: bytes) -> SourceKind:
    if not head:
        return SourceKind.EMPTY
    if head.startswith(b"\x7fELF"):
        return _kind_of_elf(head)
    for offset, magic, kind in _MAGICS:
        if head.startswith(magic, offset):
            return kind
    if any(words in head for words in _TEXTS):
        return SourceKind.OWNERTEXT
    return SourceKind.OTHER


_TEXTS = (b"Page allocated via order ", b"Page of order ", b"\nnr_base_pages: ")
_MAGICS = (
    (0, b"KDUMP   ", SourceKind.KDUMP),
    (0, b"DISKDUMP", SourceKind.DISKDUMP),
    (0, b"makedumpfile\0", SourceKind.FLATTENED),
    (257, b"ustar", SourceKind.TAR),
    (0x202, b"HdrS", SourceKind.KERNEL_IMAGE),
)


def _kind_of_elf(head: bytes) -> SourceKind:
    order = ">" if head[5:6] == b"\x02" else "<"
    if len(head) < 18 or struct.unpack_from(f"{order}H", head, 16)[0] == _ET_CORE:
        return SourceKind.ELF_CORE  # a cut-off one is for the core reader to explain
    return SourceKind.ELF_OTHER


def is_text(selection: SourceSelection) -> bool:
    """Whether *selection* is a page_owner text, by its first bytes; a pipe always is one."""
    path = selection.path
    if selection.kind != "path" or path is None:
        return False
    if str(path) == "-" or path.is_fifo():
        return True
    return path.is_file() and sniff(path).kind is SourceKind.OWNERTEXT
