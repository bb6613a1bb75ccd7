# SPDX-License-Identifier: LGPL-2.1-or-later
"""Page tables that are freed, and become somebody's data, while they are read: nothing is made of those."""

from __future__ import annotations

import numpy as np
import pytest

from pageowner.kernel.pagetable.invert import Counts, invert
from pageowner.kernel.pagetable.swap_types import swap_types
from pageowner.kernel.pagetable.x86_64 import X86_64
from tests.kernel import fake_tables as fake

SWAPS = swap_types(hwpoison=1, migration=3, device=4, markers=1, pfn_bits=34)
MAX_PFN = 1 << 22
HIGH = 0x7000_0000_0000
# What looks like 512 entries of the largest pages that there are.
DATA = [fake.page(0x40000 * (i % 16), fake.PRESENT | fake.USER | fake.PSE) for i in range(512)]


class Changing(fake.FakeMemory):
    """Right before the page *victim* is read, it is freed and filled with data."""

    victim, parent, slot = -1, -1, -1

    def read(self, address: int, size: int) -> bytes:
        if address >> 12 <= self.victim < (address + size) >> 12:
            self.tables[self.victim] = list(DATA)
            if self.parent >= 0:
                self.tables[self.parent][self.slot] = 0
        return super().read(address, size)


def mapped(memory: fake.FakeMemory, pgds: list[int]) -> tuple[set[tuple[int, int, int]], Counts]:
    """(mm, address, PFN) of each page."""
    arch = X86_64(memory.levels, fake.MASK, SWAPS)
    mappings, tables, counts = invert(memory.read, arch, np.array(pgds, np.int64), MAX_PFN, live=True)
    assert len(tables) == counts.tables - counts.moved
    found = mappings.of_blocks(np.array([0]), np.array([1 << 40]))
    assert (found.n == 1).all()
    return set(zip(found.mm.tolist(), found.va.tolist(), found.pfn.tolist(), strict=True)), counts


def two_processes(levels: int) -> tuple[Changing, list[int]]:
    """Each with a page low and one high; all PGDs have the kernel's half."""
    memory = Changing(levels)
    pgds = [memory.new_table() for _ in range(2)]
    for number, pgd in enumerate(pgds):
        memory.tables[pgd][511] = fake.page(0x77)
        memory.set(pgd, 0x1000, fake.page(0x1000 + number))
        memory.set(pgd, HIGH, fake.page(0x2000 + number))
    return memory, pgds


WHOLE = {(0, 0x1000, 0x1000), (0, HIGH, 0x2000), (1, 0x1000, 0x1001), (1, HIGH, 0x2001)}


@pytest.mark.parametrize("levels", [4, 5])
def test_still_tables_are_read_as_ever(levels: int) -> None:
    memory, pgds = two_processes(levels)
    found, counts = mapped(memory, pgds)
    assert found == WHOLE and counts.moved == 0


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("leaf", [12, 21, 30])
def test_a_table_that_is_taken_away_maps_nothing(levels: int, leaf: int) -> None:
    memory, pgds = two_processes(levels)
    memory.victim, _ = memory.table_at(pgds[0], HIGH, leaf)
    memory.parent, memory.slot = memory.table_at(pgds[0], HIGH, leaf + 9)
    found, counts = mapped(memory, pgds)
    assert found == WHOLE - {(0, HIGH, 0x2000)} and counts.moved == 1


@pytest.mark.parametrize("levels", [4, 5])
def test_a_pgd_that_is_taken_away_maps_nothing(levels: int) -> None:
    memory, pgds = two_processes(levels)
    third = memory.new_table()
    memory.tables[third][511] = fake.page(0x77)
    memory.victim = pgds[1]
    found, counts = mapped(memory, [*pgds, third])
    assert found == {row for row in WHOLE if row[0] == 0} and counts.moved == 1
