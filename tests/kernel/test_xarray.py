# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trees of the page cache against the memmap: the same pages, at the indices that the pages have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pageowner.kernel.address_space import AddressSpaces
from pageowner.kernel.memmap import read_pages
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel
from pageowner.kernel.units import read_layout, units_of
from pageowner.kernel.xarray import xarray_entries
from pageowner.sources import open_core


@pytest.fixture(scope="module")
def kernel(capture: Any) -> Kernel:
    return open_core(capture.core)


@pytest.fixture(scope="module")
def cached(kernel: Kernel) -> dict[int, dict[int, tuple[int, int]]]:
    """mapping -> {index: (PFN of the head, pages)} of all page-cache folios, from their struct pages."""
    found: dict[int, dict[int, tuple[int, int]]] = {}
    for section in kernel.memo(read_sections):
        heads = read_pages(kernel, kernel.memo(read_layout), section).heads
        mine = (heads.type == 0) & (heads.refcount > 0) & (heads.mapping_bits == 0) & (heads.mapping != 0)
        mine &= heads.mapping >> np.uint64(63) != 0
        for row in np.flatnonzero(mine).tolist():
            place = found.setdefault(int(heads.mapping[row]), {})
            place[int(heads.rows["index"][row])] = (int(heads.pfn[row]), int(heads.n[row]))
    frame = kernel.memo(AddressSpaces).describe(np.array(sorted(found), np.uint64))
    # Perf gives its buffers the mapping of their file (until 6.16), but they lie in no tree.
    bad = (frame["problem"].is_not_null() | (frame["fstype"] == "anon_inodefs")).to_list()
    return {m: found[m] for m, wrong in zip(sorted(found), bad, strict=True) if not wrong}


def test_every_tree_of_the_page_cache(kernel: Kernel, cached: dict[int, dict[int, tuple[int, int]]]) -> None:
    at = kernel.offset("struct address_space", "i_pages")
    pages = deepest = 0
    for mapping, wanted in cached.items():
        index, entry = xarray_entries(kernel, mapping + at)
        real = (entry & np.uint64(1)) == 0  # others are values: a swap entry, a shadow of what was evicted
        pfns = kernel.memo(read_sections).page_pfn(entry[real])
        got = dict(zip(index[real].tolist(), pfns.tolist(), strict=True))
        # A tree without multi-index entries (until 6.7 of shmem) has every page of a folio.
        heads = {i: pfn for i, pfn in got.items() if i in wanted}
        assert heads == {i: pfn for i, (pfn, _) in wanted.items()}
        tails = set(got) - set(wanted)
        assert all(any(h < i < h + n for h, (_, n) in wanted.items()) for i in tails)
        pages += len(wanted)
        deepest = max(deepest, *got)
    assert pages > 500 and deepest > 64  # more than one level


@pytest.mark.parametrize("head", [0, 0x1000, 0xDEAD000000000122, (1 << 64) - 8, 1 << 64])
def test_no_tree(kernel: Kernel, head: int) -> None:
    index, entry = xarray_entries(kernel, head)
    assert len(index) == len(entry) == 0


def test_units_of_scattered_pages(kernel: Kernel) -> None:
    """Any page of a compound page leads to the whole, as the memmap has it."""
    rng = np.random.default_rng(5)
    for section in kernel.memo(read_sections):
        pages = read_pages(kernel, kernel.memo(read_layout), section)
        heads = pages.heads
        plain = heads.compound & (heads.type == 0) & (heads.pfn >= section.start)
        if not plain.any():
            continue
        rows = np.flatnonzero(plain)
        asked = heads.pfn[rows] + rng.integers(0, heads.n[rows])
        units = units_of(kernel, np.append(asked, -1))
        assert units.row[-1] == -1
        assert (units.pfn[units.row[:-1]] == heads.pfn[rows]).all()
        assert (units.n[units.row[:-1]] == heads.n[rows]).all()
