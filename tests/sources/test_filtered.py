# SPDX-License-Identifier: LGPL-2.1-or-later
"""A filtered dump says of every page what the whole one says; what it lacks is counted, not guessed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pageowner.kernel import page_type
from pageowner.kernel.target import Kernel
from pageowner.snapshot.scan import SectionScan, open_scan
from pageowner.snapshot.tables import Snapshot, take_snapshot
from pageowner.sources.opening import open_core
from tests.conftest import Capture
from tests.sources.kdumpwriter import elf_note, elf_pages, kdump, save

BY = ["word", "owner", "pages"]


class Dumps:
    """The capture's core, and kdump-compressed files of the same memory."""

    def __init__(self, capture: Capture, folder: Path) -> None:
        self.folder = folder
        core = capture.core.read_bytes()
        self.pages = {pfn: page for pfn, page in elf_pages(core).items() if pfn < 1 << 20}
        self.note = elf_note(core)
        self.whole = open_core(capture.core)

    @cached_property
    def snapshot(self) -> Snapshot:
        return take_snapshot(self.whole)

    @cached_property
    def sections(self) -> list[SectionScan]:
        return list(open_scan(self.whole).run())

    def without(self, left_out: Iterable[int], name: str) -> Kernel:
        """All that the core has as kdump-compressed file, but for the PFNs *left_out*, which it had once."""
        last = max(s.pages.section.start + s.pages.section.n for s in self.sections)
        gone = {pfn for pfn in range(last) if pfn not in self.pages} | set(left_out)
        return open_core(save(self.folder / name, kdump(self.pages, self.note, gone)))


@pytest.fixture(scope="module")
def dumps(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    if capture.core.stat().st_size > 200 << 20:
        pytest.skip("a raw core: test_makedumpfile filters it with the real makedumpfile")
    return Dumps(capture, tmp_path_factory.mktemp("kdump"))


def rows(snapshot: Snapshot) -> pl.DataFrame:
    return snapshot.owners.select(BY).sort(BY)


def test_the_balance_is_equal_row_for_row(dumps: Dumps) -> None:
    filtered = take_snapshot(dumps.without([], "same"))
    assert rows(filtered).equals(rows(dumps.snapshot))
    assert filtered.coverage == dumps.snapshot.coverage
    assert not filtered.partial
    assert any("are excluded from the dump (dump level 31)" in line for line in filtered.remarks)


def test_missing_structures_are_counted(dumps: Dumps) -> None:
    """What makedumpfile 1.7.2 does to 6.12: it drops slab pages."""
    kind = np.concatenate([np.append(s.pages.heads.type, 0)[s.pages.head] for s in dumps.sections])
    slab = np.flatnonzero(kind == page_type.SLAB)[-20:].tolist()
    filtered = take_snapshot(dumps.without(slab, "slabs"))
    assert filtered.coverage.structures == len(slab) == 20
    assert filtered.coverage.unreadable == 0
    assert filtered.partial
    assert sum("20 pages of kernel structures are excluded" in line for line in filtered.remarks) == 1
    assert sum(filtered.owners["pages"]) == sum(dumps.snapshot.owners["pages"])


def test_struct_pages_left_out_are_unknown(dumps: Dumps) -> None:
    scan = open_scan(dumps.whole)
    section = scan.sections.rows[-1]
    pfns = np.arange(section.start + 512, section.start + 512 + 128)
    memmap = memmap_pfns(dumps.whole, scan.sections.page_address(pfns))
    filtered = take_snapshot(dumps.without(memmap, "memmap"))
    unknown = filtered.owners.filter(pl.col("word") == "UNKNOWN_PAGE")
    assert unknown.select("owner", "pages").rows() == [("excluded from the dump", 128)]
    assert (filtered.coverage.excluded, filtered.coverage.unreadable) == (128, 128)
    assert filtered.partial
    assert sum(filtered.owners["pages"]) == sum(dumps.snapshot.owners["pages"])


def memmap_pfns(kernel: Kernel, addresses: np.ndarray) -> list[int]:  # type: ignore[type-arg]
    """PFNs of the pages that hold the struct pages at *addresses*."""
    from drgn.helpers.linux.mm import follow_phys

    pages = sorted({int(a) >> 12 for a in addresses.tolist()})
    init_mm = kernel.object("init_mm").address_of_()
    return [int(follow_phys(init_mm, page << 12)) >> 12 for page in pages]
