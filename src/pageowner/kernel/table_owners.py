# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every page that is a page table, and whose it is: of processes and of the kernel."""

from __future__ import annotations

from pageowner.errors import LayoutError
from pageowner.kernel.image import read_image
from pageowner.kernel.pagetable.kernel_half import kernel_mappings
from pageowner.kernel.pagetable.tables import TablePages
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.target import Kernel


def read_table_owners(kernel: Kernel) -> TablePages:
    """All tables that can be reached, those of processes first.

    The kernel's tables inside its image are left out: they are part of it.
    """
    return TablePages.join([kernel.memo(read_process_memory).tables, _kernels(kernel)])


def _kernels(kernel: Kernel) -> TablePages:
    try:
        tables = kernel.memo(kernel_mappings).tables
        keep = kernel.memo(read_image).part(tables.pfn) < 0
    except (LayoutError, LookupError):
        return TablePages()
    return TablePages(tables.pfn[keep], tables.level[keep], tables.mm[keep], tables.role[keep])
