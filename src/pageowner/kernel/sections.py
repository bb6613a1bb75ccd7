# SPDX-License-Identifier: LGPL-2.1-or-later
"""``mem_section``: which pieces of physical memory have struct pages, and where (mm/sparse.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.errors import LayoutError
from pageowner.kernel.target import PAGE_SHIFT, PAGE_SIZE, Kernel

# section_mem_map keeps flags in its low bits. The first four never moved; five and six came with
# TAINT_ZONE_DEVICE (5.12) and VMEMMAP_PREINIT (6.15), so all six are masked off the pointer.
HAS_MEM_MAP, ONLINE, EARLY = 1 << 1, 1 << 2, 1 << 3
FLAG_BITS = 0x3F
SUBSECTION_SHIFT = 21 - PAGE_SHIFT  # 2 MiB, include/linux/mmzone.h


@dataclass(frozen=True, slots=True)
class Section:
    """One memory section.

    ``start`` and ``n`` are PFNs; ``memmap`` is the address of its first struct page; ``usage`` that
    of its ``struct mem_section_usage``; ``page_ext`` the biased table word as stored (0: none).
    """

    nr: int
    start: int
    n: int
    memmap: int
    usage: int
    page_ext: int
    flags: int

    @property
    def online(self) -> bool:
        return bool(self.flags & ONLINE)

    @property
    def early(self) -> bool:
        """Present since boot: every struct page of it is valid, holes included."""
        return bool(self.flags & EARLY)


@dataclass(frozen=True)
class Sections:
    """All sections that have struct pages, by PFN; ``vmemmap`` is the address of PFN 0's struct page."""

    rows: tuple[Section, ...]
    vmemmap: int
    page_size: int
    unreadable_roots: int

    def __iter__(self) -> Iterator[Section]:
        return iter(self.rows)

    def between(self, first: int, last: int) -> list[Section]:
        """Sections that hold any PFN of *first* … *last*, both included."""
        return [s for s in self.rows if s.start <= last and s.start + s.n > first]

    def page_address(self, pfns: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Addresses of the struct pages of *pfns* (``pfn_to_page()``)."""
        return np.uint64(self.vmemmap) + pfns.astype(np.uint64) * np.uint64(self.page_size)

    def page_pfn(self, addresses: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """PFNs of struct page *addresses* (``page_to_pfn()``); -1 for what is not in the memmap."""
        offset = addresses - np.uint64(self.vmemmap)
        pfns = offset // np.uint64(self.page_size)
        last = self.rows[-1].start + self.rows[-1].n if self.rows else 0
        good = (pfns < np.uint64(last)) & (pfns * np.uint64(self.page_size) == offset)
        return np.where(good, pfns.astype(np.int64), -1)


def read_sections(kernel: Kernel) -> Sections:
    """Every section with a memmap.

    :raises LayoutError: when mem_section cannot be found or holds nothing.
    """
    pages_per_section = 1 << (_section_size_bits(kernel) - PAGE_SHIFT)
    table, unreadable = _section_table(kernel)
    page_size = int(kernel.type("struct page").size or 0)
    rows = [
        _section(int(nr), row, pages_per_section, page_size)
        for nr, row in zip(table["nr"], table["row"], strict=True)
        if int(row["section_mem_map"]) & HAS_MEM_MAP
    ]
    if not rows:
        raise LayoutError(
            "mem_section holds no section with a memmap: the dump's memory map is damaged or missing"
        )
    first = rows[0]
    vmemmap = (first.memmap - first.start * page_size) % (1 << 64)
    # SPARSEMEM_VMEMMAP: all sections share one base. A section that does not is torn or corrupt.
    good = tuple(s for s in rows if (s.memmap - s.start * page_size) % (1 << 64) == vmemmap)
    return Sections(good, vmemmap, page_size, unreadable + len(rows) - len(good))


def _section(nr: int, row: np.void, pages: int, page_size: int) -> Section:
    word = int(row["section_mem_map"])
    start = nr * pages
    memmap = ((word & ~FLAG_BITS) + start * page_size) % (1 << 64)
    page_ext = int(row["page_ext"]) if "page_ext" in (row.dtype.names or ()) else 0
    return Section(nr, start, pages, memmap, int(row["usage"]), page_ext, word & FLAG_BITS)


def _section_size_bits(kernel: Kernel) -> int:
    bits = kernel.number("SECTION_SIZE_BITS")
    if bits is None or not 20 <= bits <= 40:
        raise LayoutError(
            "VMCOREINFO has no usable NUMBER(SECTION_SIZE_BITS): is the kernel built with SPARSEMEM?"
        )
    return bits


def _section_table(kernel: Kernel) -> tuple[npt.NDArray[Any], int]:
    """All non-empty rows of the two-level mem_section table: (nr, row), and the count of unreadable roots."""
    dtype = _section_dtype(kernel)
    per_root = PAGE_SIZE // dtype.itemsize
    roots = _roots(kernel)
    used = np.flatnonzero(roots)
    pieces, unreadable = [], 0
    for root in used.tolist():
        try:
            rows = np.frombuffer(kernel.read(int(roots[root]), per_root * dtype.itemsize), dtype)
        except (drgn.FaultError, OverflowError):
            unreadable += 1
            continue
        full = np.flatnonzero(rows["section_mem_map"] & np.uint64(HAS_MEM_MAP))
        piece = np.empty(len(full), np.dtype([("nr", np.int64), ("row", dtype)]))
        piece["nr"], piece["row"] = root * per_root + full, rows[full]
        pieces.append(piece)
    empty = np.empty(0, np.dtype([("nr", np.int64), ("row", dtype)]))
    return np.concatenate([empty, *pieces]), unreadable


def _section_dtype(kernel: Kernel) -> np.dtype[Any]:
    fields: dict[str, tuple[str, ...] | str] = {"section_mem_map": "section_mem_map", "usage": "usage"}
    if kernel.has_member("struct mem_section", "page_ext"):  # CONFIG_PAGE_EXTENSION
        fields["page_ext"] = "page_ext"
    try:
        return kernel.dtype("struct mem_section", fields)
    except LookupError as error:
        raise LayoutError(
            "struct mem_section is not as expected: is the kernel built with SPARSEMEM?"
        ) from error


def _roots(kernel: Kernel) -> npt.NDArray[np.uint64]:
    """The array of root pointers.

    VMCOREINFO's ``SYMBOL(mem_section)`` is the value of the variable (SPARSEMEM_EXTREME), i.e. the
    address of this array, and ``LENGTH(mem_section)`` the number of its entries.
    """
    address = kernel.vmcoreinfo.symbols.get("mem_section") or int(kernel.object("mem_section"))
    length = kernel.vmcoreinfo.lengths.get("mem_section", 0)
    if not 0 < length <= 1 << 22:
        raise LayoutError(
            "VMCOREINFO has no usable LENGTH(mem_section): is the kernel built with SPARSEMEM_EXTREME?"
        )
    data, _ = kernel.read_pieces(address, length * 8)
    return np.frombuffer(bytes(data), np.uint64)


def valid_pages(kernel: Kernel, section: Section) -> npt.NDArray[np.bool_]:
    """``pfn_valid()`` for each page of *section*: all of an early section, else by subsection_map."""
    if section.early:
        return np.ones(section.n, np.bool_)
    subsections = section.n >> SUBSECTION_SHIFT
    # Early in the struct until it gained a leading rcu_head (6.7 and stable trees): never assume offset 0.
    offset = kernel.offset("struct mem_section_usage", "subsection_map")
    try:
        words = kernel.read(section.usage + offset, (subsections + 63) // 64 * 8)
    except (drgn.FaultError, OverflowError):
        return np.ones(section.n, np.bool_)
    bits = np.unpackbits(np.frombuffer(words, np.uint8), bitorder="little")[:subsections]
    return np.repeat(bits.astype(np.bool_), 1 << SUBSECTION_SHIFT)
