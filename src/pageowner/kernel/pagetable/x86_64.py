# SPDX-License-Identifier: LGPL-2.1-or-later
"""x86-64 page-table entries, many at a time (arch/x86/include/asm/pgtable*.h)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.kernel.pagetable.swap_types import (
    DEVICE as SWP_DEVICE,
)
from pageowner.kernel.pagetable.swap_types import (
    HWPOISON,
    MIGRATION,
    OTHER,
    SWAP,
    SwapTypes,
    read_swap_types,
)
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
U8 = npt.NDArray[np.uint8]

ENTRIES = 512
# Levels, from the leaves up. With four-level paging P4D is folded: the PGD's entries point to PUD tables.
PTE, PMD, PUD, P4D, PGD = 1, 2, 3, 4, 5
LEVEL_NAMES = {PTE: "PTE", PMD: "PMD", PUD: "PUD", P4D: "P4D", PGD: "PGD"}

# What an entry is.
NONE, TABLE, PAGE, SWAPPED, POISONED, MARKER, BAD = range(7)
# Of a PAGE entry.
SPECIAL, MIGRATING, HUGE, GIGANTIC, DEVICE = 1, 2, 4, 8, 16

PRESENT_BIT = np.uint64(1 << 0)
PSE_BIT = np.uint64(1 << 7)
PROTNONE_BIT = np.uint64(1 << 8)  # GLOBAL in a present entry
SPECIAL_BIT = np.uint64(1 << 9)
# Accessed and dirty: some CPUs set them in an empty entry (_PAGE_KNL_ERRATUM_MASK).
STRAY_BITS = np.uint64(1 << 5 | 1 << 6)
ADDRESS_BITS = ((1 << 52) - 1) & ~0xFFF
# __swp_type(), __swp_offset(): five type bits on top, below them the offset, inverted.
SWP_TYPE_SHIFT = np.uint64(59)
SWP_TYPE_BITS = np.uint64(5)
SWP_OFFSET_SHIFT = np.uint64(14)


@dataclass(frozen=True)
class Entries:
    """Decoded entries: ``kind`` uint8[n]; ``flags`` uint8[n] of PAGE entries; ``pfn`` uint64[n] of the
    page or table, or the offset of a SWAPPED entry; ``type`` uint8[n] of SWAPPED and POISONED ones."""

    kind: U8
    flags: U8
    pfn: U64
    type: U8


@dataclass(frozen=True)
class X86_64:
    """Decodes the entries of one kernel.

    :param levels: 4 or 5.
    :param address_mask: bits of an entry that are a physical address: without the memory-encryption bit.
    :param huge_zero: PFN of the huge zero page, which no mapcount counts; -1 for none.
    """

    levels: int
    address_mask: int
    swap: SwapTypes
    huge_zero: int = -1

    @property
    def va_bits(self) -> int:
        """Bits of a user-space address."""
        return 47 if self.levels == 4 else 56

    def shift(self, level: int) -> int:
        """Log2 of what one entry of *level* maps, in bytes."""
        return 12 + 9 * (min(level, self.levels) - 1)

    def child(self, level: int) -> int:
        """The level of the tables that entries of *level* point to."""
        return PUD if level == PGD and self.levels == 4 else level - 1

    def decode(self, entries: U64, level: int) -> Entries:
        """What user-space *entries* (uint64[n]) of a table of *level* are."""
        kind = np.zeros(len(entries), np.uint8)
        flags, type_ = np.zeros_like(kind), np.zeros_like(kind)
        used = (entries & ~STRAY_BITS) != 0
        present, leaf = _present(entries, level)
        pfn = self._pfn(entries, level, leaf)
        is_page = used & present & leaf
        kind[used & present & ~leaf] = TABLE
        kind[is_page] = PAGE
        flags[is_page] = self._page_flags(entries[is_page], pfn[is_page], level)
        absent = np.flatnonzero(used & ~present)
        if len(absent):
            self._decode_absent(entries[absent], level, absent, kind, flags, pfn, type_)
        return Entries(kind, flags, pfn, type_)

    def decode_kernel(self, entries: U64, level: int) -> Entries:
        """As :meth:`decode`, for the kernel's half: without PRESENT there is nothing (bit 8 is GLOBAL)."""
        present = (entries & PRESENT_BIT) != 0
        _, leaf = _present(entries, level)
        kind = np.where(present, np.where(leaf, PAGE, TABLE), NONE).astype(np.uint8)
        zeros = np.zeros(len(entries), np.uint8)
        return Entries(kind, zeros, self._pfn(entries, level, leaf), zeros)

    def _pfn(self, entries: U64, level: int, leaf: npt.NDArray[np.bool_]) -> U64:
        # Mitigation of L1TF: an entry without PRESENT holds its address inverted.
        inverted = np.where(entries & PRESENT_BIT, np.uint64(0), ~np.uint64(0))
        # The lowest address bit of a huge leaf is PAT; aligning to the page's size drops it.
        huge = ~np.uint64((1 << self.shift(level)) - 1)
        pfn = (entries ^ inverted) & np.uint64(self.address_mask)
        return np.where(leaf, pfn & huge, pfn) >> np.uint64(12)

    def _page_flags(self, entries: U64, pfn: U64, level: int) -> U8:
        special = (entries & SPECIAL_BIT) != 0
        if level == PMD and self.huge_zero >= 0:
            special |= pfn == np.uint64(self.huge_zero)
        flags: U8 = special.astype(np.uint8) * np.uint8(SPECIAL) | np.uint8(_size_flag(level))
        return flags

    def _decode_absent(
        self, entries: U64, level: int, at: npt.NDArray[np.int64], kind: U8, flags: U8, pfn: U64, type_: U8
    ) -> None:
        """Fill rows *at* from swap-type entries."""
        types = (entries >> SWP_TYPE_SHIFT).astype(np.uint8)
        offsets = (~entries << SWP_TYPE_BITS) >> SWP_OFFSET_SHIFT
        meaning = self.swap.kinds[types]
        if level > PUD:
            kind[at] = BAD
            return
        kinds = np.full(len(self.swap.kinds), MARKER, np.uint8)
        kinds[[SWAP, HWPOISON, MIGRATION, SWP_DEVICE, OTHER]] = [SWAPPED, POISONED, PAGE, PAGE, MARKER]
        kind[at] = kinds[meaning]
        type_[at] = types
        pfn[at] = np.where(meaning == SWAP, offsets, offsets & np.uint64(self.swap.pfn_mask))
        state = np.zeros(len(self.swap.kinds), np.uint8)
        state[[MIGRATION, SWP_DEVICE]] = [MIGRATING | _size_flag(level), DEVICE | _size_flag(level)]
        flags[at] = state[meaning]


def _present(entries: U64, level: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which entries are present, and which of them would be leaves."""
    if level == PTE:
        return (entries & (PRESENT_BIT | PROTNONE_BIT)) != 0, np.ones(len(entries), np.bool_)
    if level > PUD:
        return (entries & PRESENT_BIT) != 0, np.zeros(len(entries), np.bool_)
    # PSE alone is present, too: pmd_mkinvalid() takes PRESENT away while a huge page is split or migrated.
    leaf = (entries & (PSE_BIT | PROTNONE_BIT)) != 0
    leaf &= ((entries & PSE_BIT) != 0) | ((entries & PRESENT_BIT) == 0)
    return (entries & (PRESENT_BIT | PROTNONE_BIT | PSE_BIT)) != 0, leaf


def _size_flag(level: int) -> int:
    return {PMD: HUGE, PUD: GIGANTIC}.get(level, 0)


def x86_64(kernel: Kernel) -> X86_64:
    """The decoder for *kernel*: paging levels and encryption bit from VMCOREINFO and globals."""
    mask = ADDRESS_BITS & ~(kernel.number("sme_mask") or 0)
    with suppress(LookupError):
        # Without the C-bit of SME and SEV or the shared bit of TDX (CONFIG_DYNAMIC_PHYSICAL_MASK).
        mask &= int(kernel.object("physical_mask")) or mask
    return X86_64(kernel.paging_levels, mask, read_swap_types(kernel), _huge_zero(kernel))


def _huge_zero(kernel: Kernel) -> int:
    try:
        pfn = int(kernel.object("huge_zero_pfn"))
    except LookupError:
        return -1
    return pfn if pfn < 1 << 40 else -1  # ~0: there is none now
