# SPDX-License-Identifier: LGPL-2.1-or-later
"""The mappings of a few pages, found without decoding all tables, are those that a full inversion has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pageowner.kernel.mapping import Mappings
from pageowner.kernel.pagetable.invert import leads_to
from pageowner.kernel.pagetable.swap_types import swap_types
from pageowner.kernel.pagetable.x86_64 import ADDRESS_BITS, X86_64
from pageowner.kernel.process_memory import few_pages, read_process_memory
from pageowner.kernel.target import Kernel
from pageowner.sources import open_source
from pageowner.sources.selection import SourceSelection

PFN = 0x1234
ARCH = X86_64(4, ADDRESS_BITS, swap_types(hwpoison=1, migration=3, device=0, markers=1, pfn_bits=34))
MIGRATION = 28  # of 32 types the last are: one for poisoned pages, three for migration, one marker


@pytest.mark.parametrize(
    ("entry", "leads"),
    [
        (PFN << 12 | 0x8000000000000867, True),
        (PFN << 12 | 0x867, True),
        ((PFN + 1) << 12 | 0x867, False),
        ((PFN - 1) << 12 | 0x867, False),
        (~(PFN << 12) & ADDRESS_BITS | 1 << 8, True),  # PROT_NONE: inverted
        (PFN << 12 | 1 << 8, False),
        (0, False),
        (1 << 5 | 1 << 6, False),
    ],
)
def test_what_leads_to_a_page(entry: int, leads: bool) -> None:
    rows = np.zeros((3, 512), np.uint64)
    rows[1, 511] = entry
    assert leads_to(ARCH, rows, PFN, PFN + 1).tolist() == [False, leads, False]


@pytest.mark.parametrize("kind", [MIGRATION, 0])
def test_only_swap_entries_of_migration_lead_to_a_page(kind: int) -> None:
    """The encoding is checked by the decoder itself."""
    offset = np.uint64(PFN)
    raw = np.uint64(kind) << np.uint64(59) | (~(offset << np.uint64(14)) >> np.uint64(5)) & np.uint64(
        (1 << 59) - 1 & ~0x1FF
    )
    rows = np.zeros((1, 512), np.uint64)
    rows[0, 3] = raw
    decoded = ARCH.decode(rows[0, 3:4], 1)
    assert int(decoded.pfn[0]) == PFN
    assert leads_to(ARCH, rows, PFN, PFN + 1).tolist() == [kind == MIGRATION]


def test_few_pages_and_all(core_path: Path) -> None:
    opened = open_source(SourceSelection("core", path=core_path))
    full = read_process_memory(opened)
    everything = full.mappings.of_blocks(np.array([0]), np.array([1 << 40]))
    picked = np.random.default_rng(7).choice(len(everything), 12, replace=False)
    for pfn in everything.pfn[picked].tolist():
        kernel = Kernel(opened.prog, opened.symbols, opened.vmcoreinfo)
        with few_pages(kernel, pfn, pfn + 3):
            few = kernel.memo(read_process_memory)
        assert not kernel.knows(read_process_memory)
        assert rows_of(few.mappings, pfn) == rows_of(full.mappings, pfn) != []
        assert np.array_equal(np.sort(few.tables.pfn), np.sort(full.tables.pfn))


def rows_of(mappings: Mappings, pfn: int) -> list[tuple[int, ...]]:
    found = mappings.of_blocks(np.array([pfn]), np.array([3]))
    columns = (found.pfn, found.n, found.mm, found.va, found.flags, found.repeat)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))
