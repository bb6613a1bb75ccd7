# SPDX-License-Identifier: LGPL-2.1-or-later
"""DMA_PAGE: memory shared with devices: virtio rings (drivers/virtio), coherent areas (kernel/dma)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.virtio import VirtioRing, virtio_rings
from pageowner.kernel.vmap import read_vmap_areas
from pageowner.layers.base import Band, Claims, Layer, Needs

VM_DMA_COHERENT = 0x10  # include/linux/vmalloc.h, since 5.4


class Dma(Layer):
    """The key is the ``struct virtqueue``, or the ``struct vm_struct`` of a coherent area.

    Coherent memory in the direct map belongs to drivers in ways that no structure lists.
    """

    word = "DMA_PAGE"
    band = Band.WALKED
    line = "DMA_PAGE name:{name}"
    needs = Needs(members=("struct vm_struct.pages",))
    before = ("VMALLOC_PAGE",)

    @cached_property
    def _rings(self) -> list[VirtioRing]:
        if not self.kernel.has_member("struct vring_virtqueue", "split.queue_size_in_bytes"):
            return []
        return list(virtio_rings(self.kernel))

    @cached_property
    def _coherent(self) -> dict[int, str]:
        """The caller of each coherent area, by vm_struct."""
        areas = self.kernel.memo(read_vmap_areas).frame
        mine = areas.filter((pl.col("flags") & VM_DMA_COHERENT) != 0)
        callers = self.kernel.symbols.symbolize(mine.get_column("caller").to_numpy())
        return dict(zip(mine.get_column("vm").to_list(), callers, strict=True))

    def walk(self) -> Iterator[Claims]:
        yield self._of_rings()
        yield Claims(*self.kernel.memo(read_vmap_areas).runs(np.array(list(self._coherent), np.uint64)))

    def _of_rings(self) -> Claims:
        start = np.array([ring.start for ring in self._rings], np.uint64)
        size = np.array([ring.size for ring in self._rings], np.int64)
        key = np.array([ring.address for ring in self._rings], np.uint64)
        phys, linear = self.kernel.linear_to_phys(start)
        pfn = (phys >> np.uint64(12)).astype(np.int64)
        return Claims(pfn[linear], (size[linear] + 4095) >> 12, key[linear])

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        rings = {ring.address: _ring_name(ring) for ring in self._rings}
        names = [rings.get(key) or self._coherent.get(key, "") for key in keys.tolist()]
        return pl.DataFrame({"name": names, "owner": names}, schema={"name": pl.String, "owner": pl.String})


def _ring_name(ring: VirtioRing) -> str:
    words = (ring.device.name, ring.device.driver, ring.name)
    return " ".join(escape(word) for word in words if word)
