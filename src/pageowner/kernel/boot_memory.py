# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was taken from memblock at boot and is reached from a global: each piece with a name.

memblock packs small things close together, so a page may hold several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import drgn
import numpy as np

from pageowner.kernel.iomem import read_iomem
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import PAGE_SIZE, Kernel
from pageowner.kernel.zone import nodes

Piece = tuple[str, int, int]
"""(name, kernel address, bytes)."""


def boot_pieces(kernel: Kernel) -> list[Piece]:
    """All pieces whose globals this kernel has; pieces that were allocated later are among them."""
    found: list[Piece] = []
    for read in _READERS:
        try:
            found += [piece for piece in read(kernel) if piece[1] and 0 < piece[2] < 1 << 40]
        except (LookupError, AttributeError, TypeError, ValueError, drgn.FaultError):
            continue  # this kernel does not have it, or the dump does not
    return found


def _mem_section(kernel: Kernel) -> Iterator[Piece]:
    """The root array (2 MiB with 5-level paging), the roots in use, and each section's usage bitmap."""
    array, length = int(kernel.object("mem_section")), kernel.vmcoreinfo.lengths["mem_section"]
    yield "mem_section", array, length * 8
    data, _ = kernel.read_pieces(array, length * 8)
    roots = np.frombuffer(bytes(data), np.uint64)
    for root in roots[roots != 0].tolist():
        yield "mem_section", root, PAGE_SIZE
    sections = kernel.memo(read_sections)
    usage = int(kernel.type("struct mem_section_usage").size or 0) + _pageblock_bytes(sections.rows[0].n)
    for section in sections:
        yield "mem_section_usage", section.usage, usage


def _pageblock_bytes(pages: int) -> int:
    """``usemap_size()``: 4 bits (8 since 6.17) per pageblock of 2 MiB, rounded up to words."""
    return -(-(pages >> 9) * 8 // 64) * 8


def _nodes(kernel: Kernel) -> Iterator[Piece]:
    for _, pgdat in nodes(kernel):
        yield "pglist_data", int(pgdat), int(kernel.type("struct pglist_data").size or 0)


def _numa(kernel: Kernel) -> Iterator[Piece]:
    count = int(kernel.object("numa_distance_cnt"))
    yield "numa_distance", int(kernel.object("numa_distance")), count * count


def _hash(
    name: str, table: str, entries: Callable[[Kernel], int], bytes_each: int = 8
) -> Callable[[Kernel], Iterator[Piece]]:
    def read(kernel: Kernel) -> Iterator[Piece]:
        yield name, int(kernel.object(table)), entries(kernel) * bytes_each

    return read


def _percpu(kernel: Kernel) -> Iterator[Piece]:
    """What describes the first chunk."""
    for chunk in (kernel.object("pcpu_first_chunk"), kernel.object("pcpu_reserved_chunk")):
        if chunk:
            yield "percpu metadata", int(chunk), int(kernel.object("pcpu_chunk_struct_size"))
            for bitmap in (chunk.alloc_map, chunk.bound_map, chunk.md_blocks):
                yield "percpu metadata", int(bitmap), 8
    for table in ("pcpu_unit_map", "pcpu_unit_offsets", "pcpu_group_offsets", "pcpu_chunk_lists"):
        yield "percpu metadata", int(kernel.object(table)), 8


def _command_line(kernel: Kernel) -> Iterator[Piece]:
    for name in ("saved_command_line", "log_buf"):
        yield name, int(kernel.object(name)), 8


def _printk(kernel: Kernel) -> Iterator[Piece]:
    """The log that setup_log_buf() made; the built-in one is part of the image."""
    ring = kernel.object("prb")
    data = ring.text_data_ring
    yield "printk log", int(data.data), 1 << int(data.size_bits)
    descriptors = 1 << int(ring.desc_ring.count_bits)
    yield "printk log", int(ring.desc_ring.descs), descriptors * int(kernel.type("struct prb_desc").size or 0)
    yield (
        "printk log",
        int(ring.desc_ring.infos),
        descriptors * int(kernel.type("struct printk_info").size or 0),
    )


def _resources(kernel: Kernel) -> Iterator[Piece]:
    """The structs of the early resources (and those of drivers, which are in slabs)."""
    size = int(kernel.type("struct resource").size or 0)
    for address in kernel.memo(read_iomem)["address"].to_list():
        yield "iomem resources", address, size


def _initrd(kernel: Kernel) -> Iterator[Piece]:
    """As the kernel has it, and as the boot loader told: debug_pagealloc does not free it, but forgets it."""
    start = int(kernel.object("initrd_start"))
    yield "initrd", start, int(kernel.object("initrd_end")) - start
    params = kernel.object("boot_params")
    image = int(params.hdr.ramdisk_image) | int(params.ext_ramdisk_image) << 32
    size = int(params.hdr.ramdisk_size) | int(params.ext_ramdisk_size) << 32
    yield "initrd", image + kernel.page_offset if image else 0, size


def _real_mode(kernel: Kernel) -> Iterator[Piece]:
    header = kernel.object("real_mode_header")
    # The blob's size is a symbol of the boot code; its first and last parts are what the header names.
    base = int(header)
    yield "real mode trampoline", base, max(int(header.ro_end) - (int(header.text_start) & -PAGE_SIZE), 8)
    yield "real mode page table", int(header.trampoline_pgd) + kernel.page_offset, PAGE_SIZE


def _swiotlb(kernel: Kernel) -> Iterator[Piece]:
    memory = kernel.object("io_tlb_default_mem")
    pool = memory.defpool if kernel.has_member("struct io_tlb_mem", "defpool") else memory  # 6.6
    start, end = int(pool.start), int(pool.end)
    yield "swiotlb", start + kernel.page_offset if start else 0, end - start
    yield "swiotlb", int(pool.slots), int(pool.nslabs) * int(kernel.type("struct io_tlb_slot").size or 0)


def _e820(kernel: Kernel) -> Iterator[Piece]:
    for name in ("e820_table", "e820_table_kexec", "e820_table_firmware"):
        yield "e820 tables", int(kernel.object(name)), int(kernel.type("struct e820_table").size or 0)


_READERS: tuple[Callable[[Kernel], Iterator[Piece]], ...] = (
    _mem_section,
    _nodes,
    _numa,
    _hash("dentry hash table", "dentry_hashtable", lambda k: 1 << (32 - int(k.object("d_hash_shift")))),
    _hash("inode hash table", "inode_hashtable", lambda k: int(k.object("i_hash_mask")) + 1),
    _hash("mount hash table", "mount_hashtable", lambda k: int(k.object("m_hash_mask")) + 1),
    _hash("mountpoint hash table", "mountpoint_hashtable", lambda k: int(k.object("mp_hash_mask")) + 1),
    _hash("pv lock hash table", "pv_lock_hash", lambda k: 1 << int(k.object("pv_lock_hash_bits")), 16),
    _percpu,
    _command_line,
    _printk,
    _resources,
    _initrd,
    _real_mode,
    _swiotlb,
    _e820,
)
