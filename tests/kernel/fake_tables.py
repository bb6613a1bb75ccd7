# SPDX-License-Identifier: LGPL-2.1-or-later
"""x86-64 page tables built by hand in a fake physical memory: the encoder to hold the decoder against."""

from __future__ import annotations

import struct

import drgn

PAGE = 4096
PRESENT, WRITE, USER, ACCESSED, DIRTY, PSE, GLOBAL, SPECIAL = (1 << b for b in (0, 1, 2, 5, 6, 7, 8, 9))
NX = 1 << 63
MASK = ((1 << 52) - 1) & ~0xFFF
ALL = (1 << 64) - 1
TABLE_FLAGS = PRESENT | WRITE | USER | ACCESSED | DIRTY
SHIFTS = {4: (39, 30, 21), 5: (48, 39, 30, 21)}


def page(pfn: int, flags: int = PRESENT | USER | WRITE | NX) -> int:
    """A present entry."""
    return pfn << 12 | flags


def inverted(pfn: int, flags: int = GLOBAL) -> int:
    """An entry without PRESENT that still has an address: PROT_NONE, or a huge one being split."""
    return (~(pfn << 12) & MASK) | flags


def swap(type_: int, offset: int, low_bits: int = 0) -> int:
    """What ``swp_entry_to_pte()`` makes."""
    return (type_ << 59 | ((~offset << 14) & ALL) >> 5 | low_bits) & ALL


class FakeMemory:
    """Table pages by PFN; anything else faults."""

    def __init__(self, levels: int = 4, first_pfn: int = 0x100) -> None:
        self.levels = levels
        self.tables: dict[int, list[int]] = {}
        self.next_pfn = first_pfn
        self.reads: list[int] = []

    def new_table(self) -> int:
        # Every second page, so that some reads are of one table and some of more.
        self.next_pfn += 1 + len(self.tables) % 2
        self.tables[self.next_pfn] = [0] * 512
        return self.next_pfn

    def table_at(self, pgd: int, va: int, leaf_shift: int) -> tuple[int, int]:
        """(PFN, index) of the entry for *va* that maps 2^leaf_shift bytes, tables made on the way."""
        pfn = pgd
        for shift in SHIFTS[self.levels]:
            if shift == leaf_shift:
                return pfn, va >> shift & 511
            index = va >> shift & 511
            if not self.tables[pfn][index]:
                self.tables[pfn][index] = self.new_table() << 12 | TABLE_FLAGS
            pfn = (self.tables[pfn][index] & MASK) >> 12
        return pfn, va >> 12 & 511

    def set(self, pgd: int, va: int, entry: int, leaf_shift: int = 12) -> None:
        pfn, index = self.table_at(pgd, va, leaf_shift)
        self.tables[pfn][index] = entry

    def read(self, address: int, size: int) -> bytes:
        out = b""
        for pfn in range(address >> 12, (address + size) >> 12):
            if pfn not in self.tables:
                raise drgn.FaultError("not there", address)
            self.reads.append(pfn)
            out += struct.pack("<512Q", *self.tables[pfn])
        return out
