# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages that say themselves that they are of no use now: OFFLINE_PAGE, GUARD_PAGE; and DEVICE_PAGE."""

from __future__ import annotations

from functools import cached_property

import drgn
import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Heads
from pageowner.kernel.module import read_modules
from pageowner.kernel.page_flags import read_page_flags
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel
from pageowner.kernel.virtio import virtio_devices
from pageowner.layers.base import Band, Bools, Layer, Needs, Selection

# Drivers that take pages away from the kernel: on the virtio bus, and on those of other hypervisors.
_VIRTIO = {"virtio_balloon", "virtio_mem"}
_MODULES = {"hv_balloon", "vmw_balloon", "xen_balloon"}


_BLOCK = 1 << 8  # keys from here on: memory blocks


class Offline(Layer):
    """Given back to the hypervisor (balloon, virtio-mem), not yet accepted from it, or in a memory block that
    is offline: its struct pages stay, but what they say is of no meaning (``pfn_to_online_page()``).

    All drivers use the one type, and the machine has one of them: it gives the name. The key is the type, or
    says which block.
    """

    word = "OFFLINE_PAGE"
    band = Band.TYPED
    line = "OFFLINE_PAGE name:{owner}"
    types = (page_type.OFFLINE, page_type.UNACCEPTED)

    def domain(self, heads: Heads) -> Bools:
        return super().domain(heads) | (self._blocks(heads) >= 0)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        block = self._blocks(heads)[rows]
        return Selection(rows, np.where(block >= 0, block + _BLOCK, heads.type[rows]).astype(np.uint64))

    def _blocks(self, heads: Heads) -> npt.NDArray[np.int64]:
        """Number of the offline memory block that each head is in, -1 elsewhere."""
        sections, each = self._offline
        if not len(sections):
            return np.full(len(heads), -1, np.int64)
        number = heads.pfn // max(self._section_pages, 1)
        inside = np.isin(number, sections)
        if inside.any():
            inside &= ~in_zone_device(self.kernel, heads)
        return np.where(inside, number // each, -1)

    @cached_property
    def _offline(self) -> tuple[npt.NDArray[np.int64], int]:
        """Numbers of the sections that are not online, and how many a block has."""
        rows = [section.nr for section in self.kernel.memo(read_sections) if not section.online]
        try:
            each = int(self.kernel.object("sections_per_block"))
        except (LookupError, drgn.FaultError):
            each = 1
        return np.array(rows, np.int64), max(each, 1)

    @cached_property
    def _section_pages(self) -> int:
        return max((section.n for section in self.kernel.memo(read_sections)), default=0)

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        names = {page_type.OFFLINE: " or ".join(self._drivers()) or "offline"}
        owners = [
            f"memory block {key - _BLOCK}" if key >= _BLOCK else names.get(key, "unaccepted")
            for key in keys.tolist()
        ]
        return pl.DataFrame({"owner": owners}, schema={"owner": pl.String})

    def _drivers(self) -> list[str]:
        try:
            drivers = {device.driver for device in virtio_devices(self.kernel)}
            modules = {part.name for part in self.kernel.memo(read_modules)}
        except (LookupError, drgn.FaultError):
            return []
        return sorted((drivers & _VIRTIO) | (modules & _MODULES))


class Guard(Layer):
    """Kept unmapped beside allocated pages (debug_pagealloc=on, debug_guardpage_minorder)."""

    word = "GUARD_PAGE"
    band = Band.TYPED
    line = "GUARD_PAGE"
    types = (page_type.GUARD,)


def in_zone_device(kernel: Kernel, heads: Heads) -> Bools:
    """Which heads are in ZONE_DEVICE, whose sections are not online either."""
    zone = kernel.constant("ZONE_DEVICE")
    if zone is None:
        return np.zeros(len(heads), np.bool_)
    return np.asarray(read_page_flags(kernel).zone(heads.flags) == np.uint64(zone))


class Device(Layer):
    """ZONE_DEVICE: struct pages of memory that is a device's. The key is the ``struct dev_pagemap``."""

    word = "DEVICE_PAGE"
    band = Band.FALLBACK
    line = "DEVICE_PAGE type:{type} pgmap:0x{pgmap:x}"
    before = ("RESERVED_PAGE", "UNOWNED_PAGE")
    needs = Needs(members=("struct dev_pagemap.type",))

    def domain(self, heads: Heads) -> Bools:
        return in_zone_device(self.kernel, heads)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        # page.pgmap shares its word with lru.next; 6.14 moved it to the folio, at the same place.
        return Selection(rows, np.ascontiguousarray(heads.rows["word1"][rows]))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        rows, ok = self.kernel.gather(keys, self.kernel.dtype("struct dev_pagemap", {"type": "type"}))
        names = self._types()
        kinds = [
            names.get(int(row["type"]), "unknown") if good else "unknown"
            for row, good in zip(rows, ok, strict=True)
        ]
        owners = [f"{kind} 0x{key:x}" for kind, key in zip(kinds, keys.tolist(), strict=True)]
        return pl.DataFrame({"type": kinds, "pgmap": keys, "owner": owners})

    def _types(self) -> dict[int, str]:
        enumerators = self.kernel.type("enum memory_type").enumerators or ()
        return {e.value: e.name.removeprefix("MEMORY_DEVICE_").lower() for e in enumerators}
