# SPDX-License-Identifier: LGPL-2.1-or-later
"""RING_BUFFER_PAGE: the ring buffers of ftrace and trace events (kernel/trace/ring_buffer.c)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.kernel_map import range_runs
from pageowner.kernel.ring_buffer import (
    TraceBuffer,
    cpu_buffers,
    ring_pages,
    saved_cmdlines,
    trace_buffers,
)
from pageowner.layers.base import Band, Claims, Layer, Needs


class RingBuffer(Layer):
    """The key is the ``struct ring_buffer_per_cpu``, or ``savedcmd``: the names that go with the events."""

    word = "RING_BUFFER_PAGE"
    band = Band.WALKED
    line = "RING_BUFFER_PAGE cpu:{cpu} name:{name}"
    needs = Needs(
        members=("struct buffer_page.page", "struct ring_buffer_per_cpu.pages", "struct trace_array.list"),
        globals=("ftrace_trace_arrays",),
    )

    @cached_property
    def _rings(self) -> dict[int, tuple[TraceBuffer, int]]:
        """Each per-CPU ring by address: the buffer it is of, and its CPU."""
        buffers = list(trace_buffers(self.kernel))
        addresses = np.array([b.buffer for b in buffers], np.uint64)
        owner, cpu, ring = cpu_buffers(self.kernel, addresses)
        rows = zip(ring.tolist(), owner.tolist(), cpu.tolist(), strict=True)
        return {address: (buffers[which], number) for address, which, number in rows}

    def walk(self) -> Iterator[Claims]:
        rings = np.array(list(self._rings), np.uint64)
        owner, address, n = ring_pages(self.kernel, rings)
        phys, linear = self.kernel.linear_to_phys(address)
        pfn = (phys >> np.uint64(12)).astype(np.int64)
        yield Claims(pfn[linear], n[linear], rings[owner[linear]])
        names, size = saved_cmdlines(self.kernel)
        pfn, n = range_runs(self.kernel, names, size)
        yield Claims(pfn, n, np.full(len(pfn), names, np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        # All CPUs share the names.
        names = (TraceBuffer("(saved_cmdlines)", 0, False), -1)
        rows = [self._rings.get(key, names) for key in keys.tolist()]
        texts = [_name(buffer) for buffer, _ in rows]
        return pl.DataFrame({"cpu": [cpu for _, cpu in rows], "name": texts, "owner": texts})


def _name(buffer: TraceBuffer) -> str:
    """The instance's name as user space knows it; the kernel's own has none."""
    return escape(buffer.name or "global") + (" (snapshot)" if buffer.snapshot else "")
