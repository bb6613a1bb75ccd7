# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrate types of pageblocks: both layouts, and the kernel's own count of them."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pageowner.kernel.memmap import page_layout, read_pages
from pageowner.kernel.migratetype import MigrateTypes, read_migrate_types
from pageowner.kernel.pageblock import PageBlocks, read_pageblocks
from pageowner.kernel.sections import EARLY, Section, read_sections
from pageowner.kernel.target import Kernel
from pageowner.sources import open_core

SECTION = Section(0, 0, 8 << 9, 0, 0x1000, 0, EARLY)


@pytest.mark.parametrize(
    ("bits", "isolate_bit", "raw", "types"),
    [
        # Four bits a block: three of type, one "skip" of compaction.
        (4, None, bytes([0x98, 0x21, 0x50, 0x43]) + bytes(4), [0, 1, 1, 2, 0, 5, 3, 4]),
        # A byte a block (6.17): bit 4 is isolation, whatever the type.
        (8, 4, bytes([0x00, 0x01, 0x09, 0x11, 0x12, 0x02, 0x18, 0x03]), [0, 1, 1, 5, 5, 2, 5, 3]),
    ],
)
def test_bits_of_a_block(bits: int, isolate_bit: int | None, raw: bytes, types: list[int]) -> None:
    kernel = SimpleNamespace(read=lambda address, size: {0x1018: raw}[address][:size])
    blocks = PageBlocks(cast(Kernel, kernel), 9, bits, 0x18, isolate_bit, 5)
    assert blocks.types(SECTION).tolist() == types
    assert blocks.page_types(SECTION).tolist() == np.repeat(types, 512).tolist()


def test_blocks_by_type_are_those_of_pagetypeinfo(capture: Any) -> None:
    """Counted like the kernel: once per block, by its first page that is in a zone."""
    kernel = open_core(capture.core)
    sections, names = read_sections(kernel), read_migrate_types(kernel)
    blocks, layout = read_pageblocks(kernel, sections), page_layout(kernel, sections)
    ours: Counter[str] = Counter()
    first = first_pages(capture.text("zoneinfo.txt"))
    for section in sections:
        pages, types = read_pages(kernel, layout, section), blocks.page_types(section)
        starts = (pages.pfn % (1 << blocks.order) == 0) | np.isin(pages.pfn, first)
        starts &= pages.valid & (pages.pfn >= min(first))
        ours.update(names.name(number) for number in types[starts].tolist())
    text = capture.text("pagetypeinfo.txt")
    assert f"Page block order: {blocks.order}\n" in text
    assert ours == kernel_counts(text)


def first_pages(zoneinfo: str) -> list[int]:
    return [int(line.split()[1]) for line in zoneinfo.splitlines() if line.strip().startswith("start_pfn:")]


def kernel_counts(text: str) -> Counter[str]:
    """Over all nodes, each of which has a table of its own."""
    counts: Counter[str] = Counter()
    for part in text.split("Number of blocks type")[1:]:
        head, *rows = part.splitlines()
        for row in takewhile(lambda row: row.startswith("Node "), rows):
            counts.update(dict(zip(head.split(), map(int, row.split()[4:]), strict=True)))
    return +counts


def test_gfp_masks_have_migrate_types() -> None:
    types = MigrateTypes(("Unmovable", "Movable", "Reclaimable"), ("compaction",), -1, True)
    masks = np.array([0xCC0, 0x100CCA, 0xCD0], np.uint32)
    assert [types.name(n) for n in types.of_gfp(masks).tolist()] == ["Unmovable", "Movable", "Reclaimable"]
    tiny = MigrateTypes(types.names, types.reasons, -1, grouping=False)
    assert tiny.of_gfp(masks).tolist() == [0, 0, 0]
    assert (types.name(7), types.reason(0), types.reason(99)) == ("7", "compaction", "99")


def test_never_migrated_by_the_kernels_own_word(capture: Any) -> None:
    types = read_migrate_types(open_core(capture.core))
    assert types.never == -1 and types.reasons[:2] == ("compaction", "memory_failure")
    assert types.names[:4] == ("Unmovable", "Movable", "Reclaimable", "HighAtomic")
