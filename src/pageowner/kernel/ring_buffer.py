# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ring buffers of tracing (kernel/trace/ring_buffer.c), one ring of pages per CPU and trace array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.errors import LayoutError
from pageowner.kernel.arrays import gather_words
from pageowner.kernel.lists import list_structs
from pageowner.kernel.target import PAGE_SHIFT, Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
_PER_CPU = "struct ring_buffer_per_cpu"
# The low bits of a next pointer say where the head is.
_FLAGS = np.uint64(3)
# Longest ring that is followed: 4 GiB of one CPU.
LONGEST_RING = 1 << 20
MAX_CPUS = 8192
_COMM_LEN = 16


@dataclass(frozen=True)
class TraceBuffer:
    """A buffer of a trace array: ``name`` ("" is the global one), ``buffer`` its ``struct trace_buffer``."""

    name: str
    buffer: int
    snapshot: bool


def trace_buffers(kernel: Kernel) -> Iterator[TraceBuffer]:
    """The buffers on ``ftrace_trace_arrays``, those of snapshots (max_buffer) too, and ``temp_buffer``."""
    link = kernel.offset("struct trace_array", "list")
    head = kernel.object("ftrace_trace_arrays").address_of_().value_()
    for address in list_structs(kernel, head, link, 1 << 16):
        array = drgn.Object(kernel.prog, "struct trace_array *", address)
        for member in ("array_buffer", "max_buffer", "snapshot_buffer"):  # renamed in 7.x
            try:
                buffer = int(getattr(array, member).buffer)
                name = kernel.read_string(int(array.name), 128) if array.name else ""
            except (AttributeError, drgn.FaultError):
                continue
            if buffer:
                yield TraceBuffer(name or "", buffer, member != "array_buffer")
    try:
        temporary = int(kernel.object("temp_buffer"))  # where events wait for their filter to decide
    except (LookupError, drgn.FaultError):
        return
    if temporary:
        yield TraceBuffer("(temporary)", temporary, False)


def saved_cmdlines(kernel: Kernel) -> tuple[int, int]:
    """Address and bytes of ``savedcmd``, which keeps the names of traced tasks; (0, 0) where it has no pages.

    Since 44dc5c41b5b1 (6.8, and stable trees) it is one block of pages, filled up to a power of two. The
    array that leads from names to pids came into it a little later.
    """
    try:
        buffer = kernel.object("savedcmd")
        names = kernel.type("struct saved_cmdlines_buffer").member("saved_cmdlines").type
        if names.kind != drgn.TypeKind.ARRAY or not buffer:
            return 0, 0
        count, pids = int(buffer.cmdline_num), int(buffer.map_cmdline_to_pid)
        header = int(kernel.type("struct saved_cmdlines_buffer").size or 0)
    except (LookupError, drgn.FaultError):
        return 0, 0
    size = header + count * _COMM_LEN
    if pids == int(buffer) + size:
        size += count * drgn.sizeof(buffer.map_cmdline_to_pid[0])
    pages = (size + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT
    return (int(buffer), 1 << (pages - 1).bit_length() << PAGE_SHIFT) if 0 < pages < 1 << 16 else (0, 0)


def cpu_buffers(kernel: Kernel, buffers: U64) -> tuple[I64, I64, U64]:
    """(index of the buffer, CPU, address of the ``ring_buffer_per_cpu``) of all CPUs of *buffers*."""
    cpus = min(int(kernel.object("nr_cpu_ids")), MAX_CPUS)
    rows, ok = kernel.gather(buffers, kernel.dtype("struct trace_buffer", {"buffers": "buffers"}))
    return gather_words(kernel, rows["buffers"], np.where(ok, cpus, 0))


def ring_pages(kernel: Kernel, rings: U64) -> tuple[I64, U64, I64]:
    """(index of the ring, address, pages) of all data pages of these ``ring_buffer_per_cpu``."""
    fields = {"pages": "pages", "reader": "reader_page", "nr": "nr_pages"}
    rows, ok = kernel.gather(rings, kernel.dtype(_PER_CPU, dict(fields)))
    owner, nodes = _follow(kernel, np.where(ok, rows["pages"], 0), rows["nr"])
    readers = np.flatnonzero(ok & (rows["reader"] != 0))
    # A buffer_page begins with its list node.
    owner = np.concatenate([owner, readers])
    nodes = np.concatenate([nodes, rows["reader"][readers]])
    wanted: dict[str, tuple[str, ...] | str] = {"page": "page"}
    if kernel.has_member("struct buffer_page", "order"):  # f9b94daa542a, 6.8
        wanted["order"] = "order"
    pages, ok = kernel.gather(nodes, kernel.dtype("struct buffer_page", wanted))
    order = pages["order"].astype(np.int64) if "order" in wanted else np.zeros(len(pages), np.int64)
    good = ok & (pages["page"] != 0) & (order < 16)
    own = owner[good], np.ascontiguousarray(pages["page"][good]), np.int64(1) << order[good]
    spare = _spare(kernel, rings)
    return (
        np.concatenate([own[0], spare[0]]),
        np.concatenate([own[1], spare[1]]),
        np.concatenate([own[2], np.ones(len(spare[0]), np.int64)]),
    )


def _follow(kernel: Kernel, first: U64, lengths: npt.NDArray[np.unsignedinteger]) -> tuple[I64, U64]:
    """All rings one step at a time, each until it is back or has had as many pages as it should have."""
    left = np.minimum(lengths.astype(np.uint64), np.uint64(LONGEST_RING)).astype(np.int64)
    owner = np.flatnonzero((first != 0) & (left > 0))
    node = first[owner]
    owners, nodes = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    while len(owner):
        owners.append(owner)
        nodes.append(node)
        left[owner] -= 1
        rows, ok = kernel.gather(node, np.dtype([("next", "<u8")]))
        node = rows["next"] & ~_FLAGS
        go = ok & (node != first[owner]) & (left[owner] > 0)
        owner, node = owner[go], node[go]
    return np.concatenate(owners), np.concatenate(nodes)


def _spare(kernel: Kernel, rings: U64) -> tuple[I64, U64]:
    """The page that a reader swaps in, and the one that tells user space how far the ring is (6.10)."""
    owners, addresses = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for name in ("free_page.data", "free_page", "meta_page"):
        try:
            dtype = kernel.dtype(_PER_CPU, {"page": name})
        except (LookupError, TypeError, LayoutError):  # until 6.2 free_page was a pointer, with no members
            continue
        rows, ok = kernel.gather(rings, dtype)
        has = np.flatnonzero(ok & (rows["page"] != 0))
        owners.append(has)
        addresses.append(np.ascontiguousarray(rows["page"][has]))
    return np.concatenate(owners), np.concatenate(addresses)
