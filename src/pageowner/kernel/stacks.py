# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel stacks: of all threads and idle tasks, those kept for reuse, and those of interrupts."""

from __future__ import annotations

from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.kernel_map import virt_to_pfns
from pageowner.kernel.percpu import per_cpu_addresses, possible_cpus
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.kernel.task import Tasks, read_tasks

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

TASK, CACHED, IRQ = "task", "cached", "irq"
_USUAL_PAGES = 4  # THREAD_SIZE is 16 KiB on x86-64, 32 KiB with KASAN
_MOST_PAGES = 16


@dataclass
class KernelStacks:
    """All stacks. ``frame``: ``key`` (uint64: the task_struct, vm_struct or per-CPU area), ``state`` (task,
    cached, irq), ``pid`` (-1 for none), ``name`` (comm, escaped, or the CPU). ``pfns`` int64: one row of
    pages per row of it (-1: unmapped)."""

    frame: pl.DataFrame
    pfns: I64


def read_kernel_stacks(kernel: Kernel) -> KernelStacks:
    """Every stack that a task or CPU has now."""
    tasks = kernel.memo(read_tasks)
    pages = _stack_pages(kernel, tasks)
    parts = [_of_tasks(tasks), _cached(kernel), _irq(kernel)]
    frame = pl.concat([part for part, _ in parts])
    starts = np.concatenate([start for _, start in parts])
    steps = np.arange(pages, dtype=np.uint64) << np.uint64(PAGE_SHIFT)
    pfns = virt_to_pfns(kernel, (starts[:, None] + steps[None, :]).reshape(-1))
    return KernelStacks(frame, pfns.reshape(-1, pages))


def _table(key: U64, state: str, pid: I64, name: list[str]) -> pl.DataFrame:
    schema = {"key": pl.UInt64, "state": pl.String, "pid": pl.Int64, "name": pl.String}
    return pl.DataFrame({"key": key, "state": [state] * len(key), "pid": pid, "name": name}, schema=schema)


def _of_tasks(tasks: Tasks) -> tuple[pl.DataFrame, U64]:
    # A dead task gives its stack back before its task_struct (68f24b08ee89, 4.9).
    has = np.flatnonzero(tasks.rows["stack"] != 0)
    name = [escape(tasks.comm[row]) for row in has.tolist()]
    pid = tasks.rows["pid"][has].astype(np.int64)
    return _table(tasks.address[has], TASK, pid, name), np.ascontiguousarray(tasks.rows["stack"][has])


def _stack_pages(kernel: Kernel, tasks: Tasks) -> int:
    """Pages of a stack: what the areas of stacks that exist have (THREAD_SIZE is a macro)."""
    if "stack_vm_area" not in (tasks.rows.dtype.names or ()):
        return _USUAL_PAGES
    areas = tasks.rows["stack_vm_area"]
    rows, ok = kernel.gather(areas[areas != 0], kernel.dtype("struct vm_struct", {"n": "nr_pages"}))
    sizes = rows["n"][ok].astype(np.int64)
    sizes = sizes[(sizes > 0) & (sizes <= _MOST_PAGES)]
    return int(np.bincount(sizes).argmax()) if len(sizes) else _USUAL_PAGES


def _cached(kernel: Kernel) -> tuple[pl.DataFrame, U64]:
    """``cached_stacks``: of each CPU, two that the next fork will use (CONFIG_VMAP_STACK)."""
    none = np.empty(0, np.uint64)
    try:
        variable = kernel.object("cached_stacks")
        slots = per_cpu_addresses(kernel, "cached_stacks")
        addr = kernel.dtype("struct vm_struct", {"addr": "addr"})
    except LookupError:
        return _table(none, CACHED, np.empty(0, np.int64), []), none
    count = int(variable.type_.length or 1) if variable.type_.kind == drgn.TypeKind.ARRAY else 1
    where = (slots[:, None] + np.arange(count, dtype=np.uint64)[None, :] * np.uint64(8)).reshape(-1)
    areas, ok = kernel.gather(where, np.dtype("<u8"))
    cpus = np.repeat(possible_cpus(kernel), count)
    rows, good = kernel.gather(np.where(ok, areas, 0), addr)
    good &= (areas != 0) & (rows["addr"] != 0)
    name = [f"cpu{cpu}" for cpu in cpus[good].tolist()]
    pid = np.full(len(name), -1, np.int64)
    return _table(areas[good], CACHED, pid, name), np.ascontiguousarray(rows["addr"][good])


def _irq(kernel: Kernel) -> tuple[pl.DataFrame, U64]:
    """``irq_stack_backing_store``: pages of the per-CPU area, mapped a second time between guard pages."""
    none = np.empty(0, np.uint64)
    try:
        where = per_cpu_addresses(kernel, "irq_stack_backing_store")
    except LookupError:
        return _table(none, IRQ, np.empty(0, np.int64), []), none
    name = [f"cpu{cpu}" for cpu in possible_cpus(kernel).tolist()]
    return _table(where, IRQ, np.full(len(where), -1, np.int64), name), where
