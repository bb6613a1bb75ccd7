# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a VMA is called, as ``/proc/PID/maps`` does: file, heap, stack, vdso (fs/proc/task_mmu.c)."""

from __future__ import annotations

from typing import Any

import drgn
import numpy as np

from pageowner.escape import escape
from pageowner.kernel.path import Paths
from pageowner.kernel.target import Kernel
from pageowner.kernel.vma import VM_EXEC, VM_READ, VM_SHARED, VM_WRITE


def permissions(flags: int) -> str:
    """``rw-p`` and the like, of vm_flags."""
    bits = ((VM_READ, "r"), (VM_WRITE, "w"), (VM_EXEC, "x"))
    return "".join(letter if flags & bit else "-" for bit, letter in bits) + (
        "s" if flags & VM_SHARED else "p"
    )


class VmaNames:
    """Names VMAs of one kernel: a few, one by one."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        places = {name: name for name in ("start_brk", "brk", "start_stack")}
        self._mm = kernel.dtype("struct mm_struct", dict(places))
        self._special = (
            kernel.symbols.lookup("special_mapping_vmops")
            if ("special_mapping_vmops" in kernel.symbols)
            else 0
        )
        has = kernel.has_member("struct vm_area_struct", "anon_name")  # CONFIG_ANON_VMA_NAME, 5.17
        self._anon_name = kernel.offset("struct vm_area_struct", "anon_name") if has else None

    def name(self, mm: int, address: int, row: Any) -> str:
        """The name of the VMA at *address*, escaped; "" for anonymous memory without one.

        :param mm: address of its ``struct mm_struct``.
        :param row: its columns, as in :class:`pageowner.kernel.vma.Vmas`.
        """
        if row["file"]:
            return escape(self._kernel.memo(Paths).of_files(np.array([row["file"]], np.uint64))[0])
        if self._special and int(row["ops"]) == self._special:
            return self._special_name(int(row["private"]))
        return self._of_place(mm, row) or self._given(address)

    def _special_name(self, mapping: int) -> str:
        at = self._pointer(mapping + self._kernel.offset("struct vm_special_mapping", "name"))
        return escape(self._kernel.read_string(at, 64) or "") if at else ""

    def _of_place(self, mm: int, row: Any) -> str:
        try:
            raw = self._kernel.read(mm, self._mm.itemsize)
        except (drgn.FaultError, OverflowError):
            return ""
        places = np.frombuffer(raw, self._mm)[0]
        start, end = int(row["start"]), int(row["end"])
        if start < int(places["brk"]) and end > int(places["start_brk"]):
            return "[heap]"
        return "[stack]" if start <= int(places["start_stack"]) <= end else ""

    def _given(self, vma: int) -> str:
        """What the process called it (PR_SET_VMA_ANON_NAME)."""
        if self._anon_name is None:
            return ""
        named = self._pointer(vma + self._anon_name)
        if not named:
            return ""
        text = self._kernel.read_string(named + self._kernel.offset("struct anon_vma_name", "name"), 80)
        return f"[anon:{escape(text or '')}]"

    def _pointer(self, address: int) -> int:
        try:
            return int.from_bytes(self._kernel.read(address, 8), "little")
        except (drgn.FaultError, OverflowError):
            return 0
