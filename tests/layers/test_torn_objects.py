# SPDX-License-Identifier: LGPL-2.1-or-later
"""User-visible objects read from memory that changes or is corrupt: every walk ends, and none raises."""

from __future__ import annotations

import random
import time
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest

from pageowner.kernel.fdtable import read_open_files
from pageowner.kernel.path import Paths
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.sections import read_sections
from pageowner.kernel.swap import read_shmem_swaps
from pageowner.kernel.target import Kernel
from pageowner.kernel.task import read_tasks
from pageowner.kernel.units import read_layout
from pageowner.layers.base import Layer
from pageowner.snapshot.scan import open_scan
from pageowner.sources import open_core

WORDS = {
    "PIPE_PAGE", "SOCKET_PAGE", "IO_URING_PAGE", "PERF_PAGE", "RING_BUFFER_PAGE", "DMA_PAGE", "BLK_MQ_PAGE",
}  # fmt: skip
SECONDS = 20


class Tearing:
    """Kernel.read with one word in twenty replaced: noise, zeros, ones, a flipped bit, another pointer."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.noise = np.random.default_rng(seed)
        self.seen: list[bytes] = [b"\0" * 8]

    def read(self, kernel: Kernel, address: int, size: int) -> bytes:
        data = bytearray(Kernel.read(kernel, address, size))
        for at in np.flatnonzero(self.noise.random(size // 8) < 0.05).tolist():
            old = bytes(data[at * 8 : at * 8 + 8])
            data[at * 8 : at * 8 + 8] = self.random.choice(
                [
                    self.random.getrandbits(64).to_bytes(8, "little"),
                    b"\0" * 8,
                    b"\xff" * 8,
                    (int.from_bytes(old, "little") ^ 1 << self.random.randrange(64)).to_bytes(8, "little"),
                    address.to_bytes(8, "little"),
                    self.random.choice(self.seen),
                ]
            )
            self.seen = [*self.seen[-1000:], old]
        return bytes(data)


@pytest.fixture(scope="module")
def whole(capture: Any) -> Path:
    return Path(capture.core)


@pytest.mark.parametrize("seed", range(4))
def test_every_walk_ends(whole: Path, seed: int) -> None:
    kernel = open_core(whole)
    # What other readers give is sound: it is these walks that are tried.
    for reader in (read_sections, read_layout, read_tasks, read_process_memory):
        kernel.memo(reader)
    layers = [run.layer for run in open_scan(kernel).runs if run.word in WORDS and run.missing is None]
    kernel.read = MethodType(Tearing(seed).read, kernel)  # type: ignore[method-assign]
    start = time.monotonic()
    for layer in layers:
        walk_and_describe(layer)
    files = kernel.memo(read_open_files)
    paths = Paths(kernel)
    assert len(paths.of_inodes(files.inode)) == len(paths.of_files(files.file)) == len(files)
    assert paths.table.height == len(paths.mounts)
    read_shmem_swaps(kernel)
    assert time.monotonic() - start < SECONDS


def walk_and_describe(layer: Layer) -> None:
    claims = list(layer.walk())
    for part in claims:
        assert len(part.pfn) == len(part.n) == len(part.key)
    keys = np.unique(np.concatenate([np.empty(0, np.uint64), *(part.key for part in claims)]))
    assert layer.describe(keys).height == len(keys)
