# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a path is: told by its contents, with one line for each thing that does not open."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
from pathlib import Path

import pytest
import zstandard

from pageowner.errors import SourceError
from pageowner.sources.compressed import Compression
from pageowner.sources.elfcore import open_core
from pageowner.sources.sniff import Sniffed, SourceKind, refusal, sniff
from tests.elfwriter import core

OWNER_TEXT = b"Page allocated via order 0, mask 0xcc0(GFP_KERNEL), pid 1, tgid 1 (init), ts 1 ns\nPFN 1\n"
TAR = b"core".ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0")
CONTENTS = [
    (core(), SourceKind.ELF_CORE),
    (core(elf_type=2), SourceKind.ELF_OTHER),
    (core(elf_type=4, machine=22, ident=b"\x7fELF\2\2\1"), SourceKind.ELF_CORE),
    (b"KDUMP   " + bytes(4088), SourceKind.KDUMP),
    (b"DISKDUMP" + bytes(4088), SourceKind.DISKDUMP),
    (b"makedumpfile\0\0\0\0" + bytes(4080), SourceKind.FLATTENED),
    (bytes(0x202) + b"HdrS" + bytes(100), SourceKind.KERNEL_IMAGE),
    (TAR, SourceKind.TAR),
    (OWNER_TEXT, SourceKind.OWNERTEXT),
    (b"", SourceKind.EMPTY),
    (b"hello\n", SourceKind.OTHER),
    (bytes(100000), SourceKind.OTHER),
]


@pytest.mark.parametrize(("content", "kind"), CONTENTS)
def test_kinds(tmp_path: Path, content: bytes, kind: SourceKind) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert sniff(path) == Sniffed(kind)


@pytest.mark.parametrize(("content", "kind"), CONTENTS)
@pytest.mark.parametrize(
    ("pack", "compression"),
    [
        (gzip.compress, Compression.GZIP),
        (lzma.compress, Compression.XZ),
        (zstandard.compress, Compression.ZSTD),
    ],
)
def test_kinds_inside(
    tmp_path: Path, content: bytes, kind: SourceKind, pack, compression: Compression
) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "x"
    path.write_bytes(pack(content))
    assert sniff(path) == Sniffed(kind, compression)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"KDUMP   ", "is a kdump-compressed dump, not an ELF core"),
        (b"DISKDUMP", "is a diskdump; only ELF cores and kdump"),
        (b"makedumpfile\0", "is a flattened dump, not an ELF core"),
        (bytes(0x202) + b"HdrS", "is a kernel image, not a core dump"),
        (TAR, "is a tar archive; unpack it and name the core in it"),
        (OWNER_TEXT, "is a page_owner text: the memory itself is not in it; give a core dump, or use"),
        (b"hello\n", "is not a core dump (no known format begins like this)"),
        (gzip.compress(b"KDUMP   ", mtime=0), ", gzip-compressed, is a kdump-compressed dump"),
        (b"\xfd7zXZ\x00 junk" * 9, ": the xz data is damaged"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 99, ": the zstd data is damaged"),
        (b"\x1f\x8b\x08junk", ": the gzip data is damaged"),
    ],
)
def test_what_does_not_open_says_why(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        open_core(path)
    assert str(caught.value).startswith(f"{path}{words if words[0] in ',:' else ' ' + words}")


def test_every_kind_has_its_line() -> None:
    lines = {refusal(Path("x"), Sniffed(kind)) for kind in SourceKind}
    assert len(lines) == len(SourceKind) and all(line.startswith("x is ") for line in lines)


def test_directories(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a directory; name the core dump in it"):
        open_core(tmp_path)
    (tmp_path / "meta.json").touch()
    with pytest.raises(SourceError, match="is a snapshot: the memory itself is not in it; give"):
        open_core(tmp_path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(SourceError, match="is a device or a pipe; copy the core to a file first"):
            open_core(path)
    with pytest.raises(SourceError, match=r"cannot open .*/gone: No such file or directory"):
        open_core(tmp_path / "gone")
    with pytest.raises(SourceError, match="cannot open"):
        open_core(Path("a\0b"))


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "core"
    path.write_bytes(core())

    def refuse(*_: object) -> None:  # chmod would not stop root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match=r"cannot read .*: Permission denied; try as root, or copy it"):
        open_core(path)
