# SPDX-License-Identifier: LGPL-2.1-or-later
"""vmap areas: what the kernel mapped into its vmalloc space, and the pages behind (mm/vmalloc.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.lists import list_structs
from pageowner.kernel.sections import Sections, read_sections
from pageowner.kernel.target import Kernel

# include/linux/vmalloc.h; macros, hence not in BTF, and unchanged since 5.10.
VM_IOREMAP, VM_ALLOC, VM_MAP = 0x1, 0x2, 0x4


@dataclass
class VmapAreas:
    """Busy areas that have a vm_struct. ``frame``: one row each, by address:

    ``vm`` (address of the vm_struct), ``start``, ``end`` (of the area, guard page included, uint64),
    ``flags``, ``nr_pages``, ``pages`` (address of the array of struct page pointers, or 0), ``caller``.
    """

    kernel: Kernel
    sections: Sections
    frame: pl.DataFrame

    def pages(self) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """(vm_struct, PFNs in order) of each area with an array of pages; unreadable ones are passed over.

        A mapping of device memory (ioremap) has none.
        """
        last = self.sections.rows[-1]
        with_pages = self.frame.filter((pl.col("pages") != 0) & (pl.col("nr_pages") > 0))
        for vm, pages, count, start, end in with_pages.select(
            "vm", "pages", "nr_pages", "start", "end"
        ).iter_rows():
            # More pages than the area has room for, or than there are: torn.
            if count > (end - start) >> 12 or count > last.start + last.n:
                continue
            try:
                data = self.kernel.read(pages, count * 8)
            except (drgn.FaultError, OverflowError):
                continue
            yield vm, self.sections.page_pfn(np.frombuffer(data, np.uint64))


def read_vmap_areas(kernel: Kernel) -> VmapAreas:
    """All busy areas, from ``vmap_nodes`` (6.9 and later) or ``vmap_area_list``."""
    link = kernel.offset("struct vmap_area", "list")
    pointers = [area for head in _list_heads(kernel) for area in list_structs(kernel, head, link)]
    area = kernel.dtype("struct vmap_area", {"start": "va_start", "end": "va_end", "vm": "vm"})
    areas, ok = kernel.gather(np.array(pointers, np.uint64), area)
    vm_fields = {
        "flags": "flags",
        "nr_pages": "nr_pages",
        "pages": "pages",
        "caller": "caller",
        "addr": "addr",
    }
    vms, ok_vm = kernel.gather(areas["vm"], kernel.dtype("struct vm_struct", dict(vm_fields)))
    # A vm_struct that does not describe its area is freed or torn.
    good = ok & ok_vm & (vms["addr"] == areas["start"]) & (areas["end"] > areas["start"])
    frame = pl.DataFrame(
        {
            "vm": np.ascontiguousarray(areas["vm"][good]),
            "start": np.ascontiguousarray(areas["start"][good]),
            "end": np.ascontiguousarray(areas["end"][good]),
            "flags": np.ascontiguousarray(vms["flags"][good]).astype(np.uint64),
            "nr_pages": np.ascontiguousarray(vms["nr_pages"][good]).astype(np.uint64),
            "pages": np.ascontiguousarray(vms["pages"][good]),
            "caller": np.ascontiguousarray(vms["caller"][good]),
        }
    )
    return VmapAreas(kernel, kernel.memo(read_sections), frame.unique("vm", keep="first").sort("start"))


def _list_heads(kernel: Kernel) -> list[int]:
    """Addresses of the list heads that the busy areas are on."""
    try:
        nodes = kernel.object("vmap_nodes")
        count = min(int(kernel.object("nr_vmap_nodes")), 1 << 12)
    except LookupError:
        return [int(kernel.object("vmap_area_list").address_of_())]
    # d093602919ad ("mm: vmalloc: remove global vmap_area_root rb-tree"), 6.9
    return [int(nodes[i].busy.head.address_of_()) for i in range(count)]
