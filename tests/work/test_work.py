# SPDX-License-Identifier: LGPL-2.1-or-later
"""Python touches unique things; numpy and polars touch pages, records and mappings: held by counting calls.

A call per page in a section of 32,768 pages, or per record, would be seen at once; seconds would not show it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pageowner.kernel.pagetable.invert import invert
from pageowner.kernel.pagetable.swap_types import SWAP, SwapTypes
from pageowner.kernel.pagetable.x86_64 import ADDRESS_BITS, X86_64
from pageowner.kernel.process_memory import read_process_memory
from pageowner.ownertext.tables import Texts
from pageowner.ownertext.write import kernel_text
from pageowner.reporters.report_text import report_bytes
from pageowner.snapshot.lines import OwnerLines
from pageowner.snapshot.reported import Reported
from pageowner.snapshot.scan import Scan, SectionScan, open_scan
from pageowner.snapshot.tally import Tally
from pageowner.snapshot.usage import Usage
from pageowner.sources import open_core
from tests.conftest import Capture
from tests.kernel.fake_tables import FakeMemory, page
from tests.work.counting import Work


@pytest.fixture(scope="module")
def scan(capture: Capture) -> Scan:
    """All owners are known: what is still to do is done for pages alone."""
    found = open_scan(open_core(capture.core))
    for section in found.run():
        assert len(section.pages.heads)
    return found


@pytest.fixture(scope="module")
def fullest(scan: Scan) -> SectionScan:
    """The section with the most units."""
    return max((scan.section(section) for section in scan.sections), key=lambda s: len(s.pages.heads))


def test_a_section_costs_few_reads_and_calls(scan: Scan, fullest: SectionScan) -> None:
    usage, tally = Usage(scan), Tally(scan)
    for _ in range(2):  # the first round resolves what is unique
        with Work(scan.kernel) as work:
            scanned = scan.section(fullest.pages.section)
            usage.add(scanned)
            tally.add(scanned)
    units = len(fullest.pages.heads)
    assert units > 6000
    assert work.reads <= 16
    assert work.calls < 11_000 + units / 2, "something is done per page or unit"


def test_usage_is_the_same_however_often_it_is_summed(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = [scan.section(section) for section in scan.sections]

    def tables(rows_at_once: int) -> tuple[pl.DataFrame, ...]:
        monkeypatch.setattr("pageowner.snapshot.usage._ROWS_AT_ONCE", rows_at_once)
        usage = Usage(scan)
        for section in sections:
            usage.add(section)
        return usage.tables()

    for often, once in zip(tables(0), tables(1 << 60), strict=True):
        assert often.equals(once)
        assert often.height


def test_half_the_pages_are_half_the_bytes(scan: Scan, fullest: SectionScan) -> None:
    whole, half = fullest.pages.section, fullest.pages.section.n // 2
    sizes = []
    for n in (whole.n, half):
        with Work(scan.kernel) as work:
            scan.read(type(whole)(**{name: getattr(whole, name) for name in whole.__slots__} | {"n": n}))
        sizes.append(work.bytes)
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.02)


@pytest.mark.parametrize("paths", [False, True])
def test_records_are_not_touched_one_by_one(scan: Scan, fullest: SectionScan, paths: bool) -> None:
    """Eight times the records, no more calls."""
    reported = Reported(scan)
    records = reported.of(fullest)
    texts, lines = Texts(scan.kernel, reported.blocks.order), OwnerLines(scan, paths)
    memory = scan.kernel.memo(read_process_memory)
    calls = []
    for frame in (records, records, pl.concat([records] * 8)):
        with Work(scan.kernel) as work:
            owner = lines.of_blocks(fullest, frame, "\n")
            text = kernel_text(frame, texts.tables(frame))
            report_bytes(text.with_columns(owner=owner, mapped=pl.lit("")))
            memory.mapped_lines(frame["pfn"].to_numpy()[:4000], frame["n"].to_numpy()[:4000])
        calls.append(work.calls)
    assert records.height > 1000
    # The first round resolves what the others know; batches are counted, rows are not.
    assert calls[2] < calls[1] + records.height / 2


@pytest.mark.parametrize("processes", [1, 20])
def test_mappings_are_not_touched_one_by_one(processes: int) -> None:
    """Full tables cost as many calls as tables with one entry."""
    kinds = np.full(32, SWAP, np.uint8)
    calls = []
    for entries in (1, 512):
        memory = FakeMemory(first_pfn=0x10000)
        pgds = [memory.new_table() for _ in range(processes)]
        for number, pgd in enumerate(pgds):
            for at in range(entries):
                # No two neighbours in memory: every entry is a run of its own.
                memory.set(pgd, 0x7F0000000000 + (at << 12), page(0x100 + number * 1024 + 2 * at))
        with Work() as work:
            mappings, _, _ = invert(memory.read, arch(kinds), np.array(pgds), 0x20000)
        assert mappings.mapped_pages() == processes * entries
        calls.append(work.calls)
    assert calls[1] < calls[0] * 1.2


def arch(kinds: np.ndarray) -> X86_64:
    return X86_64(4, ADDRESS_BITS, SwapTypes(kinds, (1 << 40) - 1))


def test_walks_do_not_read_page_by_page(scan: Scan) -> None:
    """All tables of all processes: adjacent ones are read together, none twice."""
    scan.kernel.forget(read_process_memory)
    with Work(scan.kernel) as work:
        memory = scan.kernel.memo(read_process_memory)
    assert work.reads < len(memory.tables) + 60 * len(memory.mms)
    assert work.calls < 250 * work.reads
