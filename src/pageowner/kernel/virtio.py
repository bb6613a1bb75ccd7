# SPDX-License-Identifier: LGPL-2.1-or-later
"""Virtio devices, their rings, and the pages that a balloon has taken (drivers/virtio)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.lists import list_structs
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel

I64 = npt.NDArray[np.int64]
MOST_DEVICES = 1 << 16
MOST_BALLOONED = 1 << 28
LARGEST_RING = 1 << 24  # bytes; 32768 descriptors, the most that there can be, take less than one MiB
_VRING = "struct vring_virtqueue"
# A klist node keeps a "dead" mark in the low bit of its pointer to the list; the links are plain.


@dataclass(frozen=True)
class VirtioDevice:
    """``address`` of the ``struct virtio_device``, ``name`` ("virtio0"), ``driver`` ("virtio_blk" or "")."""

    address: int
    name: str
    driver: str


@dataclass(frozen=True)
class VirtioRing:
    """One virtqueue: ``address`` of the ``struct virtqueue``, its ``name``, and [``start``, ``start + size``)
    in kernel addresses that the ring takes."""

    device: VirtioDevice
    address: int
    name: str
    start: int
    size: int


def virtio_devices(kernel: Kernel) -> Iterator[VirtioDevice]:
    """The devices on the virtio bus."""
    bus = _bus(kernel)
    if bus is None:
        return
    offset = kernel.offset("struct subsys_private", "klist_devices.k_list")
    node_at = kernel.offset("struct device_private", "knode_bus.n_node")
    device_at = kernel.offset("struct virtio_device", "dev")
    for private in list_structs(kernel, (bus + offset) % (1 << 64), node_at, MOST_DEVICES):
        try:
            device = drgn.Object(kernel.prog, "struct device_private *", private).device
            driver = kernel.read_string(int(device.driver.name), 64) if device.driver else ""
            name = kernel.read_string(int(device.kobj.name), 64)
        except drgn.FaultError:
            continue
        yield VirtioDevice((int(device) - device_at) % (1 << 64), name or "", driver or "")


def _bus(kernel: Kernel) -> int | None:
    """Address of the virtio bus's ``struct subsys_private``, by the name of its kset."""
    link = kernel.offset("struct kobject", "entry")
    kset_at = kernel.offset("struct subsys_private", "subsys") + kernel.offset("struct kset", "kobj")
    try:
        head = kernel.object("bus_kset").list.address_of_().value_()
    except (LookupError, drgn.FaultError):
        return None
    for kobject in list_structs(kernel, head, link, MOST_DEVICES):
        try:
            name = drgn.Object(kernel.prog, "struct kobject *", kobject).name
            if kernel.read_string(int(name), 16) == "virtio":
                return (kobject - kset_at) % (1 << 64)
        except drgn.FaultError:
            continue
    return None


def virtio_rings(kernel: Kernel) -> Iterator[VirtioRing]:
    """The rings of all virtqueues."""
    for device in virtio_devices(kernel):
        head = (device.address + kernel.offset("struct virtio_device", "vqs")) % (1 << 64)
        link = kernel.offset("struct virtqueue", "list")
        for queue in list_structs(kernel, head, link, MOST_DEVICES):
            address = (queue - kernel.offset(_VRING, "vq")) % (1 << 64)
            ring = drgn.Object(kernel.prog, f"{_VRING} *", address)
            try:
                name = kernel.read_string(int(ring.vq.name), 64) or ""
                pieces = list(_pieces(ring))
            except (drgn.FaultError, AttributeError, LookupError):
                continue
            sane = [(start, size) for start, size in pieces if 0 < size <= LARGEST_RING]
            yield from (VirtioRing(device, queue, name, start, size) for start, size in sane)


def _pieces(ring: drgn.Object) -> Iterator[tuple[int, int]]:
    """(address, bytes) of the memory that the device and the driver share."""
    if not _is_packed(ring):
        split = ring.split
        yield int(split.vring.desc), int(split.queue_size_in_bytes)
        return
    packed = ring.packed
    yield int(packed.vring.desc), int(packed.ring_size_in_bytes)
    for area in (packed.vring.driver, packed.vring.device):
        yield int(area), int(packed.event_size_in_bytes)


def _is_packed(ring: drgn.Object) -> bool:
    try:
        return bool(ring.packed_ring)
    except AttributeError:  # 6.19: enum vq_layout, each kind also with buffers used in order
        names = {value: name for name, value in ring.layout.type_.enumerators}
        return "PACKED" in names.get(ring.layout.value_(), "")


def balloon_pages(kernel: Kernel) -> I64:
    """PFNs of the pages in virtio balloons, which the host may have taken away; int64, ascending.

    Balloons list their pages one by one, linked through the struct pages.
    """
    sections = kernel.memo(read_sections)
    link = kernel.offset("struct page", "lru")
    pages: list[int] = []
    for device in virtio_devices(kernel):
        if device.driver != "virtio_balloon":
            continue
        vdev = drgn.Object(kernel.prog, "struct virtio_device *", device.address)
        try:
            balloon = drgn.Object(kernel.prog, "struct virtio_balloon *", int(vdev.priv))
            head = balloon.vb_dev_info.pages.address_of_().value_()
            count = int(balloon.num_pages)
        except (drgn.FaultError, LookupError, AttributeError):
            continue
        pages += list_structs(kernel, head, link, min(count, MOST_BALLOONED))
    return np.sort(sections.page_pfn(np.array(pages, np.uint64)))
