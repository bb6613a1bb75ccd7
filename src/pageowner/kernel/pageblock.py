# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pageblocks: the mobility group of every 2 MiB or so of memory (include/linux/pageblock-flags.h)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.sections import Section, Sections
from pageowner.kernel.target import Kernel

U8 = npt.NDArray[np.uint8]
_TYPE_MASK = 7  # three bits of migrate type in every version
_HUGE_ORDER = 9  # HUGETLB_PAGE_ORDER and HPAGE_PMD_ORDER of x86-64


@dataclass(frozen=True)
class PageBlocks:
    """How this kernel keeps pageblock flags.

    ``order``: log2 of the pages in a block; ``bits``: per block; ``isolate_bit``: since 6.17 isolation is a
    bit of its own that leaves the type alone, None before; ``isolate``: the number of MIGRATE_ISOLATE.
    """

    kernel: Kernel
    order: int
    bits: int
    flags_at: int
    isolate_bit: int | None
    isolate: int

    def types(self, section: Section) -> U8:
        """``get_pageblock_migratetype()`` of each pageblock of *section*, uint8[n >> order].

        255 where the source lacks the flags.
        """
        blocks = max(section.n >> self.order, 1)
        size = -(-blocks * self.bits // 64) * 8
        try:
            raw = self.kernel.read(section.usage + self.flags_at, size)
        except (drgn.FaultError, OverflowError):
            return np.full(blocks, 255, np.uint8)
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[: blocks * self.bits]
        words = np.packbits(bits.reshape(blocks, self.bits), axis=1, bitorder="little")[:, 0]
        types = words & np.uint8(_TYPE_MASK)
        if self.isolate_bit is not None:
            types[(words >> np.uint8(self.isolate_bit)) & np.uint8(1) != 0] = self.isolate
        return types

    def page_types(self, section: Section) -> U8:
        """The same for each page of *section*, uint8[n]."""
        types = self.types(section)
        return np.repeat(types, section.n // len(types))


def read_pageblocks(kernel: Kernel, sections: Sections) -> PageBlocks:
    """The pageblock layout of *kernel*.

    :raises LookupError: when struct mem_section_usage has no pageblock_flags (FLATMEM).
    """
    bits, isolate_bit = _bits(kernel)
    flags_at = kernel.offset("struct mem_section_usage", "pageblock_flags")
    return PageBlocks(
        kernel,
        order=_order(kernel, sections.rows, bits, flags_at),
        bits=bits,
        flags_at=flags_at,
        isolate_bit=isolate_bit,
        isolate=kernel.constant("MIGRATE_ISOLATE") or 0,
    )


def _bits(kernel: Kernel) -> tuple[int, int | None]:
    """Bits per block, and which of them says isolated."""
    isolate_bit = kernel.constant("PB_migrate_isolate")  # 6.17+ with CONFIG_MEMORY_ISOLATION
    used = kernel.constant("__NR_PAGEBLOCK_BITS") or kernel.constant("NR_PAGEBLOCK_BITS") or 4
    return 1 << (used - 1).bit_length(), isolate_bit


def _order(kernel: Kernel, sections: Sequence[Section], bits: int, flags_at: int) -> int:
    """``pageblock_order``: a macro on x86-64, which no type information holds."""
    largest = kernel.vmcoreinfo.lengths.get("zone.free_area", 11) - 1
    try:
        return min(int(kernel.object("pageblock_order")), largest)  # HUGETLB_PAGE_SIZE_VARIABLE
    except (LookupError, drgn.FaultError):
        pass
    found = _order_by_size(sections, bits, flags_at, largest)
    if found is not None:
        return found
    huge = any(name in kernel.symbols for name in ("hugetlb_max_hstate", "transparent_hugepage_flags"))
    return min(_HUGE_ORDER, largest) if huge else largest


def _order_by_size(sections: Sequence[Section], bits: int, flags_at: int, largest: int) -> int | None:
    """From the room that the flags take: boot memory's mem_section_usage lie side by side in one array.

    This needs no word on hugetlb, THP (which counts since 6.10) or CONFIG_PAGE_BLOCK_MAX_ORDER (6.17).
    """
    for one, two in pairwise(sections):
        if two.nr != one.nr + 1 or not one.early or not two.early:
            continue
        blocks = (two.usage - one.usage - flags_at) * 8 // bits
        if blocks > 0 and not blocks & (blocks - 1) and one.n % blocks == 0:
            order = (one.n // blocks).bit_length() - 1
            if 1 <= order <= largest:
                return order
    return None
