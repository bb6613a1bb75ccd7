# SPDX-License-Identifier: LGPL-2.1-or-later
"""kdump-compressed files: every compression opens; what is excluded, absent or cut off is told apart."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import drgn
import numpy as np
import pytest

from pageowner.commands import main
from pageowner.errors import PageownerError
from pageowner.sources.elfcore import CoreSource
from pageowner.sources.opening import open_file
from tests.elfwriter import RELEASE, UTS, core
from tests.sources.kdumpwriter import CODECS, elf_note, elf_pages, flatten, kdump, save

ELF = core()
PAGES, NOTE = elf_pages(ELF), elf_note(ELF)


def release(source: CoreSource) -> bytes:
    """Read through the page tables, and thus with VMCOREINFO."""
    return source.prog.read(0xFFFFFFFF81000000 + UTS + 130, len(RELEASE))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("form", [bytes, flatten, gzip.compress, lambda dump: gzip.compress(flatten(dump))])
def test_every_compression_opens(tmp_path: Path, codec: str, form) -> None:  # type: ignore[no-untyped-def]
    path = save(tmp_path / "dump", form(kdump(PAGES, NOTE, codec=codec)))
    source = open_file(path)
    assert release(source) == RELEASE
    assert (source.truncated, source.note, source.excluded) == (False, [], None)
    assert list(tmp_path.iterdir()) == [path]


def test_excluded_is_not_absent(tmp_path: Path) -> None:
    source = open_file(save(tmp_path / "dump", kdump(PAGES, NOTE, {9, 12, 100})))
    assert source.note == [f"{tmp_path / 'dump'}: 3 pages are excluded from the dump (dump level 31)"]
    assert not source.truncated and source.excluded is not None and source.excluded.count == 3
    pfns = np.array([8, 9, 10, 12, 50, 99, 100, 101, 1 << 40, -1], np.int64)
    assert pfns[source.excluded.of(pfns)].tolist() == [9, 12, 100]


def test_an_elf_core_says_what_was_left_out_by_its_sizes(tmp_path: Path) -> None:
    whole = bytearray(ELF)
    size_at = 64 + 56 + 40
    (size,) = struct.unpack_from("<Q", whole, size_at)
    struct.pack_into("<Q", whole, size_at, size + 0x3000)
    source = open_file(save(tmp_path / "core", bytes(whole)))
    assert source.excluded is not None and source.excluded.count == 3
    first = (0x1000 + size) >> 12
    pfns = np.arange(first - 1, first + 4)
    assert source.excluded.of(pfns).tolist() == [False, True, True, True, False]


def test_qemu_names_only_the_machine(tmp_path: Path) -> None:
    dump = kdump(PAGES, NOTE, utsname=(b"", b"", b"", b"", b"x86_64", b""))
    assert release(open_file(save(tmp_path / "dump", dump))) == RELEASE


def test_a_cut_dump_is_partial(tmp_path: Path) -> None:
    whole = kdump({**PAGES, 40: b"\1" * 4096, 41: b"\2" * 4096}, NOTE, codec="plain")
    source = open_file(save(tmp_path / "dump", whole[:-5000]))
    assert source.truncated
    assert source.note == [f"{tmp_path / 'dump'}: is cut off: 2 pages of memory are missing"]
    assert release(source) == RELEASE
    with pytest.raises(drgn.FaultError):
        source.prog.read(41 << 12, 8, True)


def test_makedumpfile_says_that_it_failed(tmp_path: Path) -> None:
    source = open_file(save(tmp_path / "dump", kdump(PAGES, NOTE, status=9)))
    assert source.truncated and "makedumpfile could not write all of it" in source.note[0]


def test_a_cut_flattened_stream_is_partial(tmp_path: Path) -> None:
    whole = flatten(kdump(PAGES, NOTE), 1 << 30)
    source = open_file(save(tmp_path / "dump", whole[:-16]))
    assert source.truncated and source.note == [
        f"{tmp_path / 'dump'}: the flattened stream has no end: it was cut off"
    ]
    assert release(source) == RELEASE


def with_bytes(at: int, value: bytes) -> bytes:
    whole = bytearray(kdump(PAGES, NOTE))
    whole[at : at + len(value)] = value
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (kdump(PAGES, NOTE)[:300], "is cut off inside its header; get the whole file"),
        (kdump(PAGES, NOTE)[:9000], "is cut off before its memory begins; get the whole file"),
        (kdump(PAGES, NOTE, utsname=(b"Linux", b"", b"", b"", b"aarch64", b"")),
         "is a dump of another architecture (aarch64); this version reads x86-64 only"),
        (with_bytes(428, b"\0\0\0\0"),
         "has a damaged kdump header; get the file again from where it was written"),
        (with_bytes(4096 + 96, b"\xff" * 8),
         "has a damaged kdump header: its number of pages makes no sense"),
        (flatten(kdump(PAGES, NOTE))[:4096],
         "is cut off inside its header; get the whole file "
         "(the flattened stream has no end: it was cut off)"),
        (b"makedumpfile\0".ljust(4096, b"\0") + b"\x7f" * 16,
         "is cut off inside its header; get the whole file (the flattened stream is damaged: a record lies "
         "where no file can be)"),
    ],
)  # fmt: skip
def test_refused_in_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    path = save(tmp_path / "dump", content)
    with pytest.raises(PageownerError) as caught:
        open_file(path)
    assert str(caught.value) == f"{path} {line}"


def test_no_vmcoreinfo_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "dump", kdump(PAGES, b""))
    assert main(["summary", str(path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"pageowner: error: {path} ")


@pytest.mark.parametrize("cut", range(4096, 16384, 701))
def test_no_cut_is_a_traceback(tmp_path: Path, cut: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "dump", kdump(PAGES, NOTE)[:cut])
    assert main(["summary", str(path)]) == 1
    assert capsys.readouterr().err.count("error:") == 1
