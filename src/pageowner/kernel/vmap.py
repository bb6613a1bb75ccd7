# SPDX-License-Identifier: LGPL-2.1-or-later
"""vmap areas: what the kernel mapped into its vmalloc space, and the pages behind (mm/vmalloc.c)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.arrays import WORD, gather_arrays
from pageowner.kernel.keyed import KeyedRows
from pageowner.kernel.lists import list_structs
from pageowner.kernel.mapping import expand
from pageowner.kernel.runs import run_starts
from pageowner.kernel.sections import Sections, read_sections
from pageowner.kernel.target import PAGE_SHIFT, Kernel

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

# include/linux/vmalloc.h; macros, hence not in BTF, and unchanged since 5.10.
VM_IOREMAP, VM_ALLOC, VM_MAP = 0x1, 0x2, 0x4
_AT_ONCE = 1 << 16  # pages of an area: longer arrays are read in parts


@dataclass
class VmapAreas:
    """Busy areas that have a vm_struct. ``frame``: one row each, by address:

    ``vm`` (address of the vm_struct), ``start``, ``end`` (of the area, guard page included, uint64),
    ``flags``, ``nr_pages``, ``pages`` (address of the array of struct page pointers, or 0), ``caller``.
    """

    kernel: Kernel
    sections: Sections
    frame: pl.DataFrame

    @cached_property
    def by_vm(self) -> KeyedRows:
        """The rows of ``frame`` by the address of the vm_struct."""
        return KeyedRows(self.frame, "vm")

    def pages(self, only: U64 | None = None) -> tuple[U64, I64]:
        """The vm_struct and the PFN of every page of the areas that have an array of pages, area by area.

        A mapping of device memory (ioremap) has none; arrays that cannot be read are left out.

        :param only: the areas of these vm_structs alone.
        :returns: uint64[n], int64[n]; PFN -1 for what is no struct page.
        """
        last = self.sections.rows[-1]
        # More pages than the area has room for, or than there are: torn.
        room = ((pl.col("end") - pl.col("start")) // (1 << PAGE_SHIFT)).clip(0, last.start + last.n)
        areas = self.frame.filter((pl.col("pages") != 0) & (pl.col("nr_pages") <= room))
        if only is not None:
            areas = areas.filter(pl.Series(np.isin(areas.get_column("vm").to_numpy(), only)))
        vm, arrays, counts = (areas.get_column(name).to_numpy() for name in ("vm", "pages", "nr_pages"))
        counts = counts.astype(np.int64)
        area, part = expand(np.zeros_like(counts), -(-counts // _AT_ONCE))
        n = np.minimum(counts[area] - part * _AT_ONCE, _AT_ONCE)
        which, place, page = gather_arrays(
            self.kernel, arrays[area] + part.astype(np.uint64) * np.uint64(8 * _AT_ONCE), n, WORD
        )
        order = np.lexsort((place, which))
        pfns = self.sections.page_pfn(np.ascontiguousarray(page["word"][order]))
        return vm[area[which[order]]], pfns

    def runs(self, only: U64 | None = None) -> tuple[I64, I64, U64]:
        """:meth:`pages` in runs: the first PFN of each, how many pages, and the vm_struct."""
        vm, pfn = self.pages(only)
        vm, pfn = vm[pfn >= 0], pfn[pfn >= 0]
        starts = run_starts(vm, pfn - np.arange(len(pfn)))
        return pfn[starts], np.diff(starts, append=len(pfn)), vm[starts]


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
