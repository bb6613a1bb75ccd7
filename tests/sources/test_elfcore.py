# SPDX-License-Identifier: LGPL-2.1-or-later
"""ELF cores: opened as far as can be, refused with one line else."""

from __future__ import annotations

import gzip
import lzma
import random
import struct
from pathlib import Path

import drgn
import pytest
import zstandard

from pageowner.errors import SourceError
from pageowner.sources.elfcore import CoreSource, open_core
from tests.elfwriter import RELEASE, UTS, VMCOREINFO, core, memory, note

QEMU_NOTE = note(b"QEMU", bytes(440))


def opened(tmp_path: Path, content: bytes) -> CoreSource:
    path = tmp_path / "core"
    path.write_bytes(content)
    return open_core(path)


def release(source: CoreSource) -> bytes:
    """Read through the page tables, and thus with VMCOREINFO."""
    return source.prog.read(0xFFFFFFFF81000000 + UTS + 130, len(RELEASE))


def test_a_whole_core(tmp_path: Path) -> None:
    source = opened(tmp_path, core())
    assert release(source) == RELEASE
    assert (source.truncated, source.note, source.path) == (False, [], tmp_path / "core")


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress])
def test_compressed_cores_open(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    source = opened(tmp_path, pack(core()))
    assert release(source) == RELEASE
    assert not source.truncated
    assert list(tmp_path.iterdir()) == [tmp_path / "core"]


def test_zstd_of_several_frames(tmp_path: Path) -> None:
    whole = core()
    packed = zstandard.compress(whole[:5000]) + zstandard.compress(whole[5000:])
    assert not opened(tmp_path, packed).truncated


def test_a_cut_core_is_partial(tmp_path: Path) -> None:
    whole = core(loads=[(0x1000, memory()), (0x100000, bytes(0x3000))])
    source = opened(tmp_path, whole[:-0x2800])
    assert source.truncated
    assert source.note == [f"{tmp_path / 'core'}: is cut off: 10240 bytes of memory are missing"]
    assert release(source) == RELEASE
    assert source.prog.read(0x100000, 0x800, True) == bytes(0x800)
    with pytest.raises(drgn.FaultError):
        source.prog.read(0x101000, 8, True)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress])
def test_a_cut_compressed_core_is_partial(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    noise = random.Random(1).randbytes(1 << 20)
    source = opened(tmp_path, pack(core(loads=[(0x1000, memory()), (0x1000000, noise)]))[:-100_000])
    assert source.truncated and "bytes of memory are missing" in source.note[-1]
    assert release(source) == RELEASE


def test_damage_in_compressed_data_is_partial(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(core()))
    packed[-8] ^= 1  # the checksum
    source = opened(tmp_path, bytes(packed))
    assert source.truncated and "the gzip data is damaged or cut off after" in source.note[0]


@pytest.mark.parametrize(
    "notes", [b"", QEMU_NOTE, note(b"VMCOREINFO", b"OSRELEASE=1\n"), note(b"VMCOREINFO", b"")]
)
def test_vmcoreinfo_is_found_in_memory(tmp_path: Path, notes: bytes) -> None:
    stale = note(b"VMCOREINFO", VMCOREINFO.replace(RELEASE, b"5.10.0-stale"))
    ram = memory(extra=stale + bytes(100) + note(b"VMCOREINFO", VMCOREINFO))
    source = opened(tmp_path, core(notes, [(0x1000, ram)]))
    assert release(source) == RELEASE
    assert source.prog["VMCOREINFO"].string_() == VMCOREINFO
    assert not source.truncated
    assert source.note == [
        f"{tmp_path / 'core'}: VMCOREINFO is not in its notes; taken from the kernel's copy in memory"
    ]


def test_vmcoreinfo_of_another_kernel_gives_way(tmp_path: Path) -> None:
    stale = note(b"VMCOREINFO", VMCOREINFO.replace(RELEASE, b"5.10.0-stale"))
    right = memory(extra=note(b"VMCOREINFO", VMCOREINFO))
    assert opened(tmp_path, core(stale, [(0x1000, right)])).prog["VMCOREINFO"].string_() == VMCOREINFO
    source = opened(tmp_path, core(stale, [(0x1000, memory())]))
    assert "VMCOREINFO names another Linux release than its memory" in source.note[0]


NO_VMCOREINFO = (
    "has no VMCOREINFO, neither in its notes nor in memory: not the core of a Linux kernel, or only a "
    "part of it; for a QEMU guest, add '-device vmcoreinfo' and dump again"
)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is empty; was the dump cut short, or the disk full?"),
        (core()[:40], "is cut off inside its ELF header; get the whole file"),
        (core()[:100], "is cut off inside its program headers, or these are damaged; get the whole file"),
        (core()[:400], "is cut off before its memory begins; get the whole file"),
        (core(loads=[]), "has no memory in it; get a core of the whole machine"),
        (core(machine=183), "is a core of another architecture (AArch64); this version reads x86-64 only"),
        (core(machine=22, ident=b"\x7fELF\2\2\1"),
         "is a core of another architecture (s390x); this version reads x86-64 only"),
        (core(machine=9999),
         "is a core of another architecture (number 9999); this version reads x86-64 only"),
        (core(machine=3, ident=b"\x7fELF\1\1\1"),
         "is a core of another architecture (i386); this version reads x86-64 only"),
        (core(ident=b"\x7fELF\1\1\1"), "is not a 64-bit little-endian core; dump it in ELF64 format"),
        (core(elf_type=2),
         "is an ELF file but no core dump; if it is the kernel's vmlinux, did you mean -s?"),
        (core(note(b"CORE", bytes(136), 3)), "is the core of a process, not of a kernel"),
        (core(b""), NO_VMCOREINFO),
        (core(QEMU_NOTE), NO_VMCOREINFO),
        (core(note(b"VMCOREINFO", b"OSRELEASE=1\n")),
         "cannot be opened, it is damaged: VMCOREINFO does not contain valid PAGESIZE"),
        (core(loads=[(1 << 63, memory())]),
         "has damaged program headers: a segment lies where no file or memory can be"),
        (core()[:54] + b"\0\0" + core()[56:], "has a damaged ELF header: no program headers"),
        (core()[:56] + b"\0\0" + core()[58:], "has a damaged ELF header: no program headers"),
        (core()[:40] + b"\xff" * 7 + b"\x7f" + core()[48:56] + b"\xff\xff" + core()[58:],
         "has a damaged ELF header: its number of program headers is missing"),
        (core()[:56] + b"\xfe\xff" + core()[58:],
         "is cut off inside its program headers, or these are damaged; get the whole file"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, content: bytes, line: str) -> None:
    with pytest.raises(SourceError) as caught:
        opened(tmp_path, content)
    assert str(caught.value) == f"{tmp_path / 'core'} {line}"


def test_damaged_headers_and_notes_end_in_one_line(tmp_path: Path) -> None:
    """Any byte of the headers may be wrong: the core opens, or there is a SourceError."""
    whole = core(loads=[(0x1000, memory(extra=note(b"VMCOREINFO", VMCOREINFO)))])
    headers = 64 + 2 * 56 + len(note(b"VMCOREINFO", VMCOREINFO))
    dice, outcomes = random.Random(20261123), {"opened": 0, "refused": 0}
    for _ in range(600):
        content = bytearray(whole)
        for _ in range(dice.choice((1, 1, 1, 4))):
            content[dice.randrange(4, headers)] ^= 1 << dice.randrange(8)
        try:
            opened(tmp_path, bytes(content))
            outcomes["opened"] += 1
        except SourceError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10, outcomes


def test_many_segments(tmp_path: Path) -> None:
    """0xffff program headers or more: the number is in the first section header (elf(5), PN_XNUM)."""
    whole = bytearray(core())
    section = bytes(44) + struct.pack("<I", 2) + bytes(16)
    struct.pack_into("<Q", whole, 40, len(whole))
    struct.pack_into("<HHH", whole, 56, 0xFFFF, 64, 1)
    assert release(opened(tmp_path, bytes(whole) + section)) == RELEASE
