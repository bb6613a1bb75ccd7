# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables that are told at a glance say the same as tables that are decoded entry by entry."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pageowner.kernel.mapping import Mappings
from pageowner.kernel.pagetable import invert as module
from pageowner.kernel.pagetable.glance import Copies, linear_tables
from pageowner.kernel.pagetable.swap_types import HWPOISON, MIGRATION, SWAP, SwapTypes
from pageowner.kernel.pagetable.x86_64 import ADDRESS_BITS, X86_64
from tests.kernel.fake_tables import (
    ACCESSED,
    DIRTY,
    PRESENT,
    SPECIAL,
    USER,
    WRITE,
    FakeMemory,
    inverted,
    page,
    swap,
)

PAGES, VA = 0x40000, 0x7F0000000000
KINDS = np.array([SWAP] * 28 + [MIGRATION] * 3 + [HWPOISON], np.uint8)


def arch() -> X86_64:
    return X86_64(4, ADDRESS_BITS, SwapTypes(KINDS, (1 << 40) - 1))


def table(kind: str, first: int) -> list[int]:
    """512 entries."""
    flags = PRESENT | USER | WRITE
    linear = [page(first + i, flags) for i in range(512)]
    scattered = [page(first + i * 7 % 512, flags) for i in range(512)]
    made = {
        "linear": linear,
        "touched": [entry | (ACCESSED | DIRTY) * (i % 3 == 0) for i, entry in enumerate(linear)],
        "special": [entry | SPECIAL for entry in linear],
        "one special": [entry | SPECIAL * (i == 300) for i, entry in enumerate(linear)],
        "one missing": [entry * (i != 17) for i, entry in enumerate(linear)],
        "one swapped": [swap(2, 99) if i == 400 else entry for i, entry in enumerate(linear)],
        "one elsewhere": [page(first + 600) if i == 255 else entry for i, entry in enumerate(linear)],
        "prot none": [inverted(first + i) for i in range(512)],
        "swapped": [swap(1, first + i) for i in range(512)],
        "scattered": scattered,
        "scattered, touched": [entry | ACCESSED * (i % 5 == 0) for i, entry in enumerate(scattered)],
        "scattered, one swapped": [swap(2, 5) if i == 9 else entry for i, entry in enumerate(scattered)],
    }
    return made[kind]


KINDS_OF_TABLES = (
    "linear", "touched", "special", "one special", "one missing", "one swapped", "one elsewhere", "prot none",
    "swapped", "scattered", "scattered, touched", "scattered, one swapped",
)  # fmt: skip


def mappings(processes: list[list[list[int]]], batch: int) -> Mappings:
    memory = FakeMemory(first_pfn=0x20000)
    pgds = [memory.new_table() for _ in processes]
    for pgd, tables in zip(pgds, processes, strict=True):
        for number, entries in enumerate(tables):
            pfn, _ = memory.table_at(pgd, VA + (number << 21), 12)
            memory.tables[pfn] = entries
    return module.invert(memory.read, arch(), np.array(pgds), PAGES, batch=batch)[0]


def everything(found: Mappings) -> list[tuple[int, ...]]:
    """Every mapping of every page, and every swap entry."""
    all_of = found.of_blocks(np.arange(0, PAGES, 64), np.full(PAGES // 64, 64))
    rows = set()
    for at in range(len(all_of)):
        for i in range(int(all_of.n[at])):
            where = int(all_of.va[at]) + (i << 12)
            rows.add((int(all_of.mm[at]), where, int(all_of.pfn[at]) + i, int(all_of.flags[at])))
    swaps = {
        (int(s["mm"]), int(s["va"]) + (i << 12), int(s["offset"]) + i, -1)
        for s in found.swaps for i in range(int(s["n"]))
    }  # fmt: skip
    return sorted(rows | swaps)


@pytest.mark.parametrize("batch", [1, 64])
def test_the_same_with_and_without(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random.seed(batch)
    # The same tables in several processes, as forks and shared memory have them, and in another order.
    shared = [table(kind, 0x1000 + 0x400 * i) for i, kind in enumerate(KINDS_OF_TABLES)]
    processes = [random.sample(shared, len(shared)) for _ in range(3)]
    quick = mappings(processes, batch)
    monkeypatch.setattr(module, "linear_tables", lambda arch, rows: linear_tables(arch, rows[:0]))
    monkeypatch.setattr(Copies, "groups", lambda self, sums: np.full(len(sums[0]), -1, np.int64))
    slow = mappings(processes, batch)
    assert everything(quick) == everything(slow)
    assert quick.mapped_pages() == slow.mapped_pages()
    assert (quick.mapcounts(0, PAGES) == slow.mapcounts(0, PAGES)).all()


def test_only_linear_tables_are_linear() -> None:
    rows = np.array([table(kind, 0x1000) for kind in KINDS_OF_TABLES], np.uint64)
    found, pfn, _ = linear_tables(arch(), rows)
    assert [KINDS_OF_TABLES[row] for row in found] == ["linear", "touched", "special"]
    assert (pfn == 0x1000).all()
