# SPDX-License-Identifier: LGPL-2.1-or-later
"""Objects of one slab, and which of them are free (mm/slub.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.percpu import cpu_offsets
from pageowner.kernel.target import Kernel

_OBJECTS_SHIFT, _OBJECTS_BITS = 16, 15  # in counters: inuse:16, objects:15, frozen:1, in every version


@dataclass(frozen=True)
class SlabObjects:
    """``size`` bytes from one object to the next; ``start``: address of the first; ``free`` bool[objects].

    ``broken``: the list of free objects leaves the slab or runs in a circle, so ``free`` is not all.
    """

    size: int
    start: int
    free: npt.NDArray[np.bool_]
    broken: bool


def slab_objects(kernel: Kernel, slab: int, address: int) -> SlabObjects:
    """The objects of the ``struct slab`` (the head's struct page) at *slab*, whose memory is at *address*.

    Free are those on the slab's own list and on the lists of the CPUs that allocate from it. (6.18's sheaves
    hold free objects outside the slab; those look allocated.)

    :raises LookupError: when the kernel's structures are not as expected (not SLUB).
    :raises drgn.FaultError: when slab or cache cannot be read.
    """
    where = "struct slab" if kernel.has_member("struct slab", "freelist") else "struct page"  # 5.17
    fields = {"cache": "slab_cache", "freelist": "freelist", "counters": "counters"}
    row = _row(kernel, slab, kernel.dtype(where, dict(fields)))
    cache = _Cache(kernel, int(row["cache"]))
    objects = (int(row["counters"]) >> _OBJECTS_SHIFT) & ((1 << _OBJECTS_BITS) - 1)
    start = address + cache.padding
    free, broken = np.zeros(objects, np.bool_), False
    for first in (int(row["freelist"]), *cache.cpu_freelists(slab)):
        broken |= not cache.follow(first, start, free)
    return SlabObjects(cache.size, start, free, broken)


class _Cache:
    """What of a ``struct kmem_cache`` tells where objects are and which are free."""

    def __init__(self, kernel: Kernel, address: int) -> None:
        self._kernel = kernel
        # CONFIG_SLAB_FREELIST_HARDENED, CONFIG_SLUB_DEBUG; cpu_slab went with 7.0.
        optional = ("random", "red_left_pad", "cpu_slab")
        present = [name for name in optional if kernel.has_member("struct kmem_cache", name)]
        fields = {name: name for name in ("size", "offset", *present)}
        row = _row(kernel, address, kernel.dtype("struct kmem_cache", dict(fields)))
        names = row.dtype.names or ()
        self.size, self._offset = int(row["size"]), int(row["offset"])
        self.padding = int(row["red_left_pad"]) if "red_left_pad" in names else 0
        self._random = int(row["random"]) if "random" in names else None
        self._cpu_slab = int(row["cpu_slab"]) if "cpu_slab" in names else 0

    def cpu_freelists(self, slab: int) -> list[int]:
        """First free object of each CPU that allocates from *slab*."""
        if not self._cpu_slab:
            return []
        kernel = self._kernel
        members: dict[str, tuple[str, ...] | str] = {
            "freelist": "freelist",
            "slab": ("slab", "page"),  # page until 5.16
        }
        dtype = kernel.dtype("struct kmem_cache_cpu", members)
        at = cpu_offsets(kernel) + np.uint64(self._cpu_slab)
        rows, ok = kernel.gather(at, dtype)
        return [int(row["freelist"]) for row in rows[ok] if int(row["slab"]) == slab]

    def follow(self, first: int, start: int, free: npt.NDArray[np.bool_]) -> bool:
        """Mark the objects on the list that begins with *first*; False when the list is broken."""
        while first:
            index, rest = divmod(first - start, self.size or 1)
            if rest or not 0 <= index < len(free) or free[index]:
                return False
            free[index] = True
            first = self._next(first)
        return True

    def _next(self, free: int) -> int:
        at = free + self._offset
        try:
            word = self._kernel.read(at, 8)
        except drgn.FaultError:
            return -1
        value = int.from_bytes(word, "little")
        if self._random is None:
            return value
        # The address is swapped end for end first (1ad53d9fa3f6, 5.7).
        return value ^ self._random ^ int.from_bytes(at.to_bytes(8, "little"), "big")


def _row(kernel: Kernel, address: int, dtype: np.dtype[Any]) -> Any:
    return np.frombuffer(kernel.read(address, dtype.itemsize), dtype)[0]
