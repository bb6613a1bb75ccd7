# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where one page is mapped: process, address, and what of the process's memory that is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pageowner.escape import escape
from pageowner.kernel.mapped_at import Mapped, mapped
from pageowner.kernel.mapping import GIGANTIC, HUGE
from pageowner.kernel.mm import NO_TASK
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.kernel.target import Kernel
from pageowner.kernel.task import Tasks
from pageowner.kernel.vma import Vmas, read_vmas
from pageowner.kernel.vma_name import VmaNames, permissions

MOST = 1 << 16
"""Rows that are worked on: the zero page may be mapped a hundred million times."""


@dataclass(frozen=True)
class Place:
    """One address at which the page is mapped. ``process``: as in owner lines; ``permissions`` and ``name``
    of its VMA ("" where none covers the address); ``special``: the kernel counts it in no mapcount."""

    pid: int
    process: str
    address: int
    permissions: str
    name: str
    special: bool
    migrating: bool


@dataclass(frozen=True)
class Places:
    """``rows``: the first of them, by pid and address; ``count``: of all; ``huge``: how many entries are of
    huge pages, which map the page with its neighbours."""

    rows: list[Place]
    count: int
    huge: int


def places_of(kernel: Kernel, pfn: int, most: int) -> Places:
    """Where page *pfn* is mapped; no more than *most* rows are worked out."""
    memory: ProcessMemory = kernel.memo(read_process_memory)
    at, one = np.array([pfn], np.int64), np.array([1], np.int64)
    found = memory.mappings.of_blocks(at, one)
    count = int(found.repeat.sum())
    huge = int(((found.flags & np.uint8(HUGE | GIGANTIC)) != 0).sum())
    if count > MOST:
        return Places([], count, huge)
    rows = mapped(memory.mappings, memory.mms, at, one)
    return Places(_rows(kernel, memory, rows, min(most, len(rows))), count, huge)


def _rows(kernel: Kernel, memory: ProcessMemory, rows: Mapped, most: int) -> list[Place]:
    used, index = np.unique(rows.mm[:most], return_inverse=True)
    some = replace(memory.mms, address=memory.mms.address[used], rows=memory.mms.rows[used])
    vmas = read_vmas(kernel, some)
    at = vmas.find(index.astype(np.int64), rows.start[:most])
    names, out = VmaNames(kernel), []
    comm = _comms(memory.tasks, rows.tgid[:most])
    for row in range(most):
        mode, name = _vma(names, vmas, int(at[row]), int(memory.mms.address[rows.mm[row]]))
        pid, special, migrating = int(rows.tgid[row]), bool(rows.special[row]), bool(rows.migrating[row])
        process = memory.name(int(rows.mm[row])) if pid == NO_TASK else f"pid {pid} ({comm.get(pid, '')})"
        out.append(Place(pid, process, int(rows.start[row]), mode, name, special, migrating))
    return out


def _comms(tasks: Tasks, tgids: npt.NDArray[np.int64]) -> dict[int, str]:
    """Names of the thread groups *tgids*."""
    leaders = tasks.leaders
    mine = leaders[np.isin(tasks.rows["tgid"][leaders], tgids)]
    return {int(tasks.rows["tgid"][row]): escape(tasks.comm[row], "()") for row in mine.tolist()}


def _vma(names: VmaNames, vmas: Vmas, row: int, mm: int) -> tuple[str, str]:
    if row < 0:
        return "", ""
    vma = vmas.rows[row]
    return permissions(int(vma["flags"])), names.name(mm, int(vmas.address[row]), vma)
