# SPDX-License-Identifier: LGPL-2.1-or-later
"""From the name of a page to its PFN: at most one walk down one set of page tables."""

from __future__ import annotations

import numpy as np

from pageowner.errors import PageownerError
from pageowner.kernel.pagetable.lookup import Found, look_up
from pageowner.kernel.pagetable.x86_64 import BAD, LEVEL_NAMES, MARKER, NONE, PAGE, POISONED, SWAPPED, x86_64
from pageowner.kernel.sections import Sections
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.kernel.task import read_tasks
from pageowner.snapshot.page_name import PageName

_WHY = {
    NONE: "nothing is mapped there",
    POISONED: "the page that was there had a memory failure",
    MARKER: "nothing is mapped there (a marker of the kernel's)",
    BAD: "its page table holds an entry that no kernel writes",
}


class NoPageError(PageownerError):
    """The name is well formed, but leads to no page."""


def find_page(kernel: Kernel, sections: Sections, name: PageName) -> int:
    """The PFN of the page that *name* names.

    :raises NoPageError: when there is none, in one line.
    """
    match name.kind:
        case "pfn":
            return name.number
        case "phys":
            return name.number >> PAGE_SHIFT
        case "page":
            return _of_struct_page(sections, name.number)
        case "virt":
            return _of_kernel_address(kernel, name.number)
        case _:
            return _of_user_address(kernel, name.pid, name.number)


def _of_struct_page(sections: Sections, address: int) -> int:
    size = sections.page_size
    inside = (address - sections.vmemmap) % size if address >= sections.vmemmap else 0
    pfn = int(sections.page_pfn(np.array([address - inside], np.uint64))[0])
    if pfn < 0:
        last = sections.rows[-1].start + sections.rows[-1].n
        end = sections.vmemmap + last * size
        raise NoPageError(f"0x{address:x} is no struct page: those lie in 0x{sections.vmemmap:x} - 0x{end:x}")
    return pfn


def _of_kernel_address(kernel: Kernel, address: int) -> int:
    if address < 1 << 63:
        raise NoPageError(f"0x{address:x} is no kernel address; write PID:0x{address:x} for a process's")
    physical, linear = kernel.linear_to_phys(np.array([address], np.uint64))
    if linear[0]:
        return int(physical[0]) >> PAGE_SHIFT
    symbols = kernel.vmcoreinfo.symbols
    root = symbols.get("init_top_pgt") or symbols.get("swapper_pg_dir") or 0
    top, _ = kernel.linear_to_phys(np.array([root], np.uint64))
    found = look_up(kernel.read_phys, x86_64(kernel), int(top[0]) >> PAGE_SHIFT, address, kernel=True)
    return _page(found, f"0x{address:x}")


def _of_user_address(kernel: Kernel, pid: int, address: int) -> int:
    """Walks the tables of that process only."""
    pgd = _pgd(kernel, pid)
    arch = x86_64(kernel)
    where = f"address 0x{address:x} of pid {pid}"
    if address >> arch.va_bits:
        raise NoPageError(f"{where} is beyond user space; write virt:0x{address:x} for a kernel address")
    return _page(look_up(kernel.read_phys, arch, pgd, address), where)


def _pgd(kernel: Kernel, pid: int) -> int:
    """PFN of the PGD of thread or process *pid*."""
    tasks = kernel.memo(read_tasks)
    rows = np.flatnonzero(((tasks.rows["pid"] == pid) | (tasks.rows["tgid"] == pid)) & (pid > 0))
    if not len(rows):
        raise NoPageError(f"there is no process {pid}")
    mms = tasks.rows["mm"][rows]
    if not mms.any():
        raise NoPageError(f"pid {pid} ({tasks.comm[int(rows[0])]}) has no address space")
    pgd = kernel.dtype("struct mm_struct", {"pgd": "pgd"})
    found, ok = kernel.gather(mms[mms != 0][:1], pgd)
    physical, linear = kernel.linear_to_phys(np.ascontiguousarray(found["pgd"]))
    if not ok[0] or not linear[0]:
        raise NoPageError(f"the page tables of pid {pid} cannot be found in this source")
    return int(physical[0]) >> PAGE_SHIFT


def _page(found: Found, where: str) -> int:
    if not found.readable:
        raise NoPageError(f"{where}: its {LEVEL_NAMES[found.level]} table is not in the source")
    if found.kind == SWAPPED:
        raise NoPageError(f"{where} is swapped out, to slot {found.pfn} of swap area {found.type}")
    if found.kind != PAGE:
        raise NoPageError(f"{where}: {_WHY.get(found.kind, _WHY[NONE])}")
    return found.pfn
