# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one address leads to: a walk down one set of page tables, an entry per level."""

from __future__ import annotations

from dataclasses import dataclass

import drgn
import numpy as np

from pageowner.kernel.pagetable.tables import ENTRIES, ReadPhys
from pageowner.kernel.pagetable.x86_64 import NONE, PAGE, PGD, PTE, TABLE, X86_64, Entries
from pageowner.kernel.target import PAGE_SHIFT


@dataclass(frozen=True)
class Found:
    """Where the walk ended: ``kind`` of the last entry (PAGE, NONE, SWAPPED, …) and the ``level`` it is of.

    ``pfn`` of the very page that the address is in (PAGE), else the swap offset; ``type``: of a swap entry;
    ``flags``: as of a run of mappings. ``readable``: False when a table could not be read.
    """

    kind: int
    level: int
    pfn: int = -1
    type: int = 0
    flags: int = 0
    readable: bool = True


def look_up(read_phys: ReadPhys, arch: X86_64, pgd: int, va: int, kernel: bool = False) -> Found:
    """What *va* leads to in the tables under the PGD at PFN *pgd*; *kernel*: it is of the kernel's half."""
    table, level = pgd, PGD
    while True:
        shift = arch.shift(level)
        try:
            raw = read_phys((table << PAGE_SHIFT) + ((va >> shift) % ENTRIES) * 8, 8)
        except (drgn.FaultError, OverflowError, ValueError):
            return Found(NONE, level, readable=False)
        entry = np.frombuffer(raw, np.uint64)
        decoded = arch.decode_kernel(entry, level) if kernel else arch.decode(entry, level)
        if decoded.kind[0] != TABLE or level == PTE:
            return _end(decoded, level, va, shift)
        table, level = int(decoded.pfn[0]), arch.child(level)


def _end(decoded: Entries, level: int, va: int, shift: int) -> Found:
    kind, pfn = int(decoded.kind[0]), int(decoded.pfn[0])
    if kind == PAGE:
        pfn += (va >> PAGE_SHIFT) & ((1 << (shift - PAGE_SHIFT)) - 1)
    return Found(kind, level, pfn, int(decoded.type[0]), int(decoded.flags[0]))
