# SPDX-License-Identifier: LGPL-2.1-or-later
"""The headers and bitmaps of a kdump-compressed file: what is in it, what was left out, what is missing.

Layout: makedumpfile's ``struct disk_dump_header`` and ``struct kdump_sub_header`` (IMPLEMENTATION,
version 6; little-endian, 64-bit), the bitmaps, then one ``page_desc_t`` per page in the file.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pageowner.errors import SourceError
from pageowner.sources.excluded import ExcludedBits

SIGNATURE = b"KDUMP   "
_FIELD = 65
_MACHINE = 12 + 4 * _FIELD  # utsname begins at 12: sysname, nodename, release, version, machine, domainname
_SIZES = struct.Struct("<Iiii")
_STATUS = 424
_DUMP_LEVEL = 8
_MAX_MAPNR = 96
INCOMPLETE = 0x8  # DUMP_DH_COMPRESSED_INCOMPLETE
_DESCRIPTOR = np.dtype([("offset", "<i8"), ("size", "<u4"), ("flags", "<u4"), ("page_flags", "<u8")])
_BATCH = 1 << 16
_MOST_RUNS = 1 << 16
#: Bits of a descriptor's flags; what none of them names is stored as it is.
METHODS = {0x1: "zlib", 0x2: "lzo", 0x4: "snappy", 0x20: "zstd"}
# 64 PiB of memory, more than x86-64 can have.
_MOST_PAGES = 1 << 44


@dataclass(frozen=True)
class Survey:
    """``missing`` pages that the file promises and has not, all of them within ``ranges`` of PFNs (end
    excluded), and the names of the compressions that it uses."""

    missing: int
    ranges: list[tuple[int, int]]
    methods: list[str]


@dataclass(frozen=True)
class KdumpHeader:
    """The file open as ``fd``: where things lie in bytes; ``pages`` is one more than its highest PFN."""

    fd: int
    file_size: int
    block_size: int
    bitmaps_at: int
    bitmap_bytes: int
    pages: int
    status: int
    dump_level: int

    @property
    def incomplete(self) -> bool:
        """Whether makedumpfile itself says that it could not write all of it."""
        return bool(self.status & INCOMPLETE)

    @cached_property
    def excluded(self) -> ExcludedBits:
        """Memory by the first bitmap, and not in the file by the second."""
        exists, dumped = self._bitmap(0), self._bitmap(1)
        return ExcludedBits(exists & ~dumped)

    def _bitmap(self, which: int) -> npt.NDArray[np.uint8]:
        half = self.bitmap_bytes // 2
        size = min(half, (self.pages + 7) // 8)
        return np.frombuffer(os.pread(self.fd, size, self.bitmaps_at + which * half), np.uint8)

    @cached_property
    def survey(self) -> Survey:
        """What the page descriptors say, read once."""
        left = int(np.bitwise_count(self._bitmap(1)).sum())
        at, done, flags = self.bitmaps_at + self.bitmap_bytes, 0, 0
        runs: list[tuple[int, int]] = []
        while done < left:
            raw = os.pread(self.fd, min(left - done, _BATCH) * _DESCRIPTOR.itemsize, at)
            rows = np.frombuffer(raw[: len(raw) // _DESCRIPTOR.itemsize * _DESCRIPTOR.itemsize], _DESCRIPTOR)
            if not len(rows):
                runs.append((done, left))
                break
            there = (rows["offset"] > 0) & (rows["offset"] + rows["size"].astype(np.int64) <= self.file_size)
            flags |= int(np.bitwise_or.reduce(rows["flags"][there], initial=0))
            edges = np.flatnonzero(np.diff((~there).astype(np.int8), prepend=0, append=0)) + done
            runs += zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
            done, at = done + len(rows), at + len(rows) * _DESCRIPTOR.itemsize
        pages = sum(end - start for start, end in runs)
        if len(runs) > _MOST_RUNS:
            runs = [(runs[0][0], runs[-1][1])]
        methods = [name for bit, name in METHODS.items() if flags & bit]
        return Survey(pages, self._pfn_ranges(runs) if runs else [], methods)

    def _pfn_ranges(self, runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The PFNs (end excluded) of runs of descriptors: the n-th is of the n-th bit that is set."""
        bits = self._bitmap(1)
        before = np.cumsum(np.bitwise_count(bits), dtype=np.int64)

        def pfn(n: int) -> int:
            byte = int(np.searchsorted(before, n, side="right"))
            inside = n - int(before[byte]) + int(np.bitwise_count(bits[byte]))
            set_bits = np.flatnonzero(np.unpackbits(bits[byte : byte + 1], bitorder="little"))
            return byte * 8 + int(set_bits[inside])

        return [(pfn(start), pfn(end - 1) + 1) for start, end in runs]


def read_kdump_header(fd: int) -> KdumpHeader:
    """Read the headers of the kdump-compressed file open as ``fd``; ``SourceError``, without the path."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, 512, 0)
    if len(head) < 512:
        raise SourceError("is cut off inside its header; get the whole file")
    machine = head[_MACHINE : _MACHINE + _FIELD].split(b"\0")[0].decode("ascii", "replace")
    if machine and machine != "x86_64":
        raise SourceError(f"is a dump of another architecture ({machine}); this version reads x86-64 only")
    status, block, sub_blocks, bitmap_blocks = _SIZES.unpack_from(head, _STATUS)
    sound = block in (4096, 8192, 16384, 32768, 65536) and 0 < sub_blocks < 4096 and bitmap_blocks > 0
    if not sound:
        raise SourceError("has a damaged kdump header; get the file again from where it was written")
    sub = os.pread(fd, 104, block)
    bitmaps_at, bitmap_bytes = (1 + sub_blocks) * block, bitmap_blocks * block
    if len(sub) < 104 or bitmaps_at + bitmap_bytes > size:
        raise SourceError("is cut off before its memory begins; get the whole file")
    (level,) = struct.unpack_from("<i", sub, _DUMP_LEVEL)
    (pages,) = struct.unpack_from("<Q", sub, _MAX_MAPNR)
    if not 0 < pages <= min(_MOST_PAGES, bitmap_bytes * 4):
        raise SourceError("has a damaged kdump header: its number of pages makes no sense")
    return KdumpHeader(fd, size, block, bitmaps_at, bitmap_bytes, pages, status, level)
