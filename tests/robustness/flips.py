"""Bit flips in what a scan reads: which bytes these are, and runs of the command on a damaged copy."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import drgn


@dataclass(frozen=True)
class Run:
    """How one run ended: exit status, seconds were bounded by the caller, peak memory in bytes."""

    status: int
    stderr: str
    peak: int


def load_segments(core: Path) -> list[tuple[int, int, int]]:
    """(file offset, physical address, size) of each PT_LOAD of an ELF core."""
    raw = core.read_bytes()[:1 << 20]
    start, count = struct.unpack_from("<Q", raw, 32)[0], struct.unpack_from("<H", raw, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", raw, start + 56 * i) for i in range(count)]
    return [(h[2], h[4], h[5]) for h in headers if h[0] == 1]


class ReadLog:
    """File ranges of a core that are read through *prog*, drgn's own page-table walks included."""

    def __init__(self, core: Path, prog: drgn.Program) -> None:
        self.ranges: set[tuple[int, int]] = set()
        self._fd = os.open(core, os.O_RDONLY)
        for offset, physical, size in load_segments(core):
            prog.add_memory_segment(physical, size, self._reader(offset), True)

    def _reader(self, base: int):
        def read(address: int, count: int, offset: int, physical: bool) -> bytes:
            self.ranges.add((base + offset, count))
            return os.pread(self._fd, count, base + offset)

        return read

    def offsets(self, seed: int, count: int) -> list[int]:
        """*count* file offsets, drawn evenly from the bytes that were read."""
        chance = random.Random(seed)
        ranges = sorted(self.ranges)
        weights = [size for _, size in ranges]
        return [start + chance.randrange(size) for start, size in chance.choices(ranges, weights, k=count)]


@contextmanager
def flipped(core: Path, offsets: list[int], seed: int) -> Iterator[None]:
    """The file *core* with one bit flipped at each offset, mended afterwards."""
    chance = random.Random(seed)
    with core.open("r+b", buffering=0) as file:
        before = {}
        for offset in set(offsets):
            file.seek(offset)
            before[offset] = file.read(1)
            file.seek(offset)
            file.write(bytes([before[offset][0] ^ 1 << chance.randrange(8)]))
        try:
            yield
        finally:
            for offset, byte in before.items():
                file.seek(offset)
                file.write(byte)


def run_command(arguments: list[str], seconds: float) -> Run:
    """Run ``pageowner`` on its own, output thrown away.

    :raises subprocess.TimeoutExpired: when it takes longer than *seconds*.
    """
    code = (
        "import resource,sys;from pageowner.commands import main;status=main(sys.argv[1:]);"
        "print('PEAK',resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024,file=sys.stderr);sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=seconds, check=False,
    )  # fmt: skip
    stderr = done.stderr.decode("utf-8", "replace")
    peak = [int(line.split()[1]) for line in stderr.splitlines() if line.startswith("PEAK ")]
    return Run(done.returncode, stderr, peak[0] if peak else -1)
