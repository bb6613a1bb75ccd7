# SPDX-License-Identifier: LGPL-2.1-or-later
"""Per-CPU memory: variables of each CPU, and the chunks that all of it comes from (mm/percpu.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.kernel_map import virt_to_pfns
from pageowner.kernel.lists import walk_lists
from pageowner.kernel.target import PAGE_SHIFT, PAGE_SIZE, Kernel

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_MOST_CPUS = 8192
_MOST_PAGES = 1 << 16  # of one unit: 256 MiB


def possible_cpus(kernel: Kernel) -> I64:
    """Numbers of the possible CPUs (``__cpu_possible_mask``)."""
    mask = kernel.object("__cpu_possible_mask")
    size = int(kernel.type("struct cpumask").size or 0)
    bits = np.unpackbits(
        np.frombuffer(kernel.read(int(mask.address_of_()), size), np.uint8), bitorder="little"
    )
    return np.flatnonzero(bits)[:_MOST_CPUS].astype(np.int64)


def cpu_offsets(kernel: Kernel) -> U64:
    """``__per_cpu_offset`` of each possible CPU, in the order of :func:`possible_cpus`."""
    cpus = possible_cpus(kernel)
    base = int(kernel.object("__per_cpu_offset").address_ or 0)
    rows, ok = kernel.gather(np.uint64(base) + cpus.astype(np.uint64) * np.uint64(8), np.dtype("<u8"))
    return np.where(ok, rows, np.uint64(0))


def per_cpu_addresses(kernel: Kernel, name: str) -> U64:
    """Address of the per-CPU variable *name* on each possible CPU; LookupError when there is none."""
    return cpu_offsets(kernel) + np.uint64(int(kernel.object(name).address_of_()))


@dataclass(frozen=True)
class Chunk:
    """One ``struct pcpu_chunk``: ``base``: address of unit 0; ``pages``: which of a unit's are populated."""

    address: int
    base: int
    pages: I64
    first: bool


@dataclass
class PerCpu:
    """All per-CPU memory.

    The first chunk also holds the static variables, which lie before what ``struct pcpu_chunk`` describes.
    """

    kernel: Kernel
    chunks: list[Chunk]

    @cached_property
    def cpus(self) -> I64:
        return possible_cpus(self.kernel)

    @cached_property
    def unit_offsets(self) -> U64:
        """``pcpu_unit_offsets`` of each possible CPU."""
        table = int(self.kernel.object("pcpu_unit_offsets"))
        where = np.uint64(table) + self.cpus.astype(np.uint64) * np.uint64(8)
        rows, _ = self.kernel.gather(where, np.dtype("<u8"))
        return rows

    def pages(self, chunk: Chunk) -> Iterator[tuple[int, I64]]:
        """(CPU, PFNs in order of address) of each unit of *chunk*; -1 where nothing is mapped."""
        steps = chunk.pages.astype(np.uint64) << np.uint64(PAGE_SHIFT)
        for cpu, offset in zip(self.cpus.tolist(), self.unit_offsets, strict=True):
            yield cpu, virt_to_pfns(self.kernel, np.uint64(chunk.base) + offset + steps)


def read_percpu(kernel: Kernel) -> PerCpu:
    """All chunks: those on ``pcpu_chunk_lists``, the first and the reserved one."""
    first = int(kernel.object("pcpu_first_chunk"))
    reserved = int(kernel.object("pcpu_reserved_chunk"))
    link = kernel.offset("struct pcpu_chunk", "list")
    slots = min(int(kernel.object("pcpu_nr_slots")), 1 << 10)
    kinds = kernel.constant("PCPU_NR_CHUNK_TYPES") or 1  # 5.9 … 5.13: lists for accounted chunks apart
    heads = np.uint64(int(kernel.object("pcpu_chunk_lists"))) + np.arange(
        slots * kinds, dtype=np.uint64
    ) * np.uint64(16)
    listed = walk_lists(kernel, heads).node - np.uint64(link)
    dynamic = sorted({int(a) for a in listed.tolist()} - {first, reserved, 0})
    chunks = [_first_chunk(kernel, first)]
    chunks += [c for c in (_dynamic_chunk(kernel, a) for a in dynamic) if c is not None]
    return PerCpu(kernel, chunks)


def _first_chunk(kernel: Kernel, address: int) -> Chunk:
    """Static, reserved and first dynamic area are one stretch of each unit: all its pages."""
    chunk = drgn.Object(kernel.prog, "struct pcpu_chunk *", address)
    base = int(kernel.object("pcpu_base_addr"))
    end = int(chunk.base_addr) + (int(chunk.nr_pages) << PAGE_SHIFT)
    pages = max(min((end - base) >> PAGE_SHIFT, _MOST_PAGES), 0)
    return Chunk(address, base, np.arange(pages, dtype=np.int64), True)


def _dynamic_chunk(kernel: Kernel, address: int) -> Chunk | None:
    chunk = drgn.Object(kernel.prog, "struct pcpu_chunk *", address)
    try:
        base, count = int(chunk.base_addr), int(chunk.nr_pages)
        if not 0 < count <= _MOST_PAGES or base % PAGE_SIZE:
            return None
        words = kernel.read(address + kernel.offset("struct pcpu_chunk", "populated"), (count + 63) // 64 * 8)
    except drgn.FaultError:
        return None
    bits = np.unpackbits(np.frombuffer(words, np.uint8), bitorder="little")[:count]
    return Chunk(address, base, np.flatnonzero(bits).astype(np.int64), False)
