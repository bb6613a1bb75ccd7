# SPDX-License-Identifier: LGPL-2.1-or-later
"""``page_type``: what the kernel itself wrote into a struct page about its kind (include/linux/page-flags.h).

Three encodings exist. Until 6.9 the word is all ones with one bit *cleared* per type; 6.10 and 6.11
do the same with ``enum pagetype`` naming the bits; since 6.12 the top byte is the type, ``PGTY_*``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import Kernel

# Our codes, one byte per page, the same for every kernel.
NONE, BUDDY, OFFLINE, TABLE, GUARD, HUGETLB, SLAB, ZSMALLOC, UNACCEPTED, LARGE_KMALLOC, STRANGE = range(11)
NAMES = {
    BUDDY: "buddy",
    OFFLINE: "offline",
    TABLE: "table",
    GUARD: "guard",
    HUGETLB: "hugetlb",
    SLAB: "slab",
    ZSMALLOC: "zsmalloc",
    UNACCEPTED: "unaccepted",
    LARGE_KMALLOC: "large_kmalloc",
}
Codes = npt.NDArray[np.uint8]
_LOWEST_MAPCOUNT = 0xFFFFFF80  # PAGE_MAPCOUNT_RESERVE, -128


def any_of(codes: Codes, wanted: Iterable[int]) -> npt.NDArray[np.bool_]:
    """Which of *codes* are among *wanted*: ``np.isin()``, by a table of all codes."""
    table = np.zeros(256, np.bool_)
    table[list(wanted)] = True
    return table[codes]


@dataclass(frozen=True)
class PageTypes:
    """Decoder of the page_type word of one kernel.

    ``by_top_byte``: 6.12+: code per top byte. ``by_cleared_bit``: older: (bit, code) pairs.
    """

    by_top_byte: npt.NDArray[np.uint8] | None
    by_cleared_bit: tuple[tuple[int, int], ...]
    base: int

    def codes(self, words: npt.NDArray[np.uint32]) -> Codes:
        """Our type code of each page_type *word* (uint8[n]); NONE where it holds a mapcount."""
        if self.by_top_byte is not None:
            return np.asarray(self.by_top_byte[words >> np.uint32(24)], np.uint8)
        out = np.zeros(len(words), np.uint8)
        # Far below any mapcount: 5.10 has a type for accounted pages that says nothing of what they are.
        out[(words >= np.uint32(self.base)) & (words < np.uint32(_LOWEST_MAPCOUNT))] = STRANGE
        for bit, code in self.by_cleared_bit:
            test = np.uint32(self.base | bit)
            out[(words & test) == np.uint32(self.base)] = code
        return out


def page_types(kernel: Kernel) -> PageTypes:
    """The page types that the target knows, by the names in its own types."""
    top = _by_top_byte(kernel)
    if top is not None:
        return PageTypes(top, (), 0)
    named = [(kernel.constant(f"PG_{name}"), code) for code, name in NAMES.items()]
    # 6.10 and 6.11: enum pagetype { PG_buddy = 0x40000000, … }. Before, PG_slab is a page *flag* number.
    bits = [(bit, code) for bit, code in named if bit is not None and bit >= 0x00800000]
    if bits:
        return PageTypes(None, tuple(bits), 0x80000000)
    return PageTypes(None, _macro_bits(kernel), 0xF0000000)


def _by_top_byte(kernel: Kernel) -> npt.NDArray[np.uint8] | None:
    if kernel.constant("PGTY_buddy") is None:
        return None
    table = np.zeros(256, np.uint8)
    table[0xF0:0xFF] = STRANGE
    # From 0x80 up to the first type the byte is that of a mapcount that overflowed.
    for code, name in NAMES.items():
        value = kernel.constant(f"PGTY_{name}")
        if value is not None:
            table[value] = code
    return table


def _macro_bits(kernel: Kernel) -> tuple[tuple[int, int], ...]:
    """The bits that were macros (5.10 … 6.9): buddy and offline never moved, table and guard did.

    5.10 had PG_kmemcg at 0x200; 18b2db3b0385 ("mm: Convert page kmemcg type to a page memcg flag",
    5.11) removed it and the later ones moved down; it also renamed page.mem_cgroup to memcg_data.
    """
    shift = 1 if kernel.has_member("struct page", "mem_cgroup") else 0
    bits = [(0x80, BUDDY), (0x100, OFFLINE), (0x200 << shift, TABLE), (0x400 << shift, GUARD)]
    for name, code in (("HUGETLB", HUGETLB), ("SLAB", SLAB)):
        value = kernel.number(f"PAGE_{name}_MAPCOUNT_VALUE")
        if value is not None:  # ~bit, as a signed number
            bits.append((~value & 0x0FFFFFFF, code))
    return tuple(bits)
