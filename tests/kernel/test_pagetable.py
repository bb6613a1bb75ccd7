# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inverting page tables that were built by hand gives back what was put in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pageowner.kernel.mapping import DEVICE, GIGANTIC, HUGE, MIGRATING, REPEAT, SPECIAL, Mappings
from pageowner.kernel.pagetable.invert import Counts, invert
from pageowner.kernel.pagetable.swap_types import SwapTypes, swap_types
from pageowner.kernel.pagetable.tables import SECOND_PGD, TablePages
from pageowner.kernel.pagetable.unwalked import second_pgds
from pageowner.kernel.pagetable.x86_64 import ADDRESS_BITS, X86_64
from tests.kernel import fake_tables as fake

# As Debian's 6.12: hwpoison 27, migration 28 … 30, marker 31; here with device types, so all are lower.
SWAPS = swap_types(hwpoison=1, migration=3, device=4, markers=1, pfn_bits=34)
HWPOISON_TYPE, MIGRATION_TYPE, DEVICE_TYPE, MARKER_TYPE = 23, 24, 27, 31
MAX_PFN = 1 << 22


class Page(NamedTuple):
    pfn: int
    flags: int = 0


class Swap(NamedTuple):
    type: int
    offset: int
    poisoned: bool = False


def run(
    memory: fake.FakeMemory,
    pgds: list[int],
    batch: int = 4096,
    swaps: SwapTypes = SWAPS,
    mask: int = ADDRESS_BITS,
    max_pfn: int = MAX_PFN,
) -> tuple[Mappings, TablePages, Counts]:
    arch = X86_64(memory.levels, mask, swaps, huge_zero=0x3000)
    return invert(memory.read, arch, np.array(pgds, np.int64), max_pfn, batch)


def contents(mappings: Mappings) -> dict[tuple[int, int], Page]:
    """(mm, va) -> page, one entry per 4 KiB."""
    found = mappings.of_blocks(np.array([0]), np.array([1 << 40]))
    out: dict[tuple[int, int], Page] = {}
    for i in range(len(found)):
        flags = int(found.flags[i])
        for k in range(int(found.repeat[i] if flags & REPEAT else found.n[i])):
            key = (int(found.mm[i]), int(found.va[i]) + k * 4096)
            assert key not in out, "an address is mapped once"
            out[key] = Page(int(found.pfn[i]) + (0 if flags & REPEAT else k), flags & ~REPEAT)
    return out


def swapped(mappings: Mappings) -> dict[tuple[int, int], Swap]:
    return {
        (int(row["mm"]), int(row["va"]) + k * 4096): Swap(
            int(row["type"]), int(row["offset"]) + k, bool(row["poisoned"])
        )
        for row in mappings.swaps
        for k in range(int(row["n"]))
    }


PFNS = st.integers(1, 40) | st.integers(1, (1 << 34) - 1)
SMALL = st.one_of(
    st.tuples(st.just("page"), PFNS),
    st.tuples(st.just("protnone"), PFNS),
    st.tuples(st.just("special"), PFNS | st.just(7)),
    st.tuples(st.just("migrating"), PFNS),
    st.tuples(st.just("device"), PFNS),
    st.tuples(st.just("swap"), st.integers(0, 20) | st.integers(0, (1 << 40) - 1)),
    st.tuples(st.just("poisoned"), PFNS),
    st.tuples(st.just("marker"), st.just(1)),
    st.tuples(st.just("stray"), st.just(0)),
)
PLACES = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 1), st.integers(0, 1030))


def put_small(memory: fake.FakeMemory, pgd: int, va: int, kind: str, value: int) -> Page | Swap | None:
    """Write one entry; what the inverter should make of it."""
    entry, meaning = {
        "page": (fake.page(value), Page(value)),
        "protnone": (fake.inverted(value), Page(value)),
        "special": (fake.page(value) | fake.SPECIAL, Page(value, SPECIAL)),
        # Young and dirty bits above the PFN do not count.
        "migrating": (fake.swap(MIGRATION_TYPE + value % 3, value | 3 << 34), Page(value, MIGRATING)),
        "device": (fake.swap(DEVICE_TYPE + value % 4, value), Page(value, DEVICE)),
        "swap": (fake.swap(value % 23, value, 0b1110), Swap(value % 23, value)),
        "poisoned": (fake.swap(HWPOISON_TYPE, value), Swap(HWPOISON_TYPE, value, True)),
        "marker": (fake.swap(MARKER_TYPE, value), None),
        "stray": (fake.DIRTY | fake.ACCESSED, None),
    }[kind]
    memory.set(pgd, va, entry)
    return meaning  # type: ignore[return-value]


@given(
    entries=st.dictionaries(PLACES, SMALL, max_size=60),
    stretches=st.lists(st.tuples(PLACES, st.integers(1, 200), st.integers(1, 1 << 20)), max_size=4),
    levels=st.sampled_from([4, 5]),
    batch=st.sampled_from([1, 3, 4096]),
)
@settings(max_examples=60)
def test_inverting_gives_back_what_was_mapped(entries, stretches, levels, batch):  # type: ignore[no-untyped-def]
    memory = fake.FakeMemory(levels)
    pgds = [memory.new_table() for _ in range(3)]
    wanted: dict[tuple[int, int], Page | Swap | None] = {}
    top = 47 if levels == 4 else 56

    def address(place: tuple[int, int, int, int]) -> int:
        # A few top-level and middle entries, among them the last of the user's half.
        _, high, middle, low = place
        start = high << 39 if high < 3 else (1 << top) - (1 << 39)
        return start + (middle << 30) + low * 4096

    for place, n, pfn in stretches:
        for k in range(n):
            va = address(place) + k * 4096
            wanted[place[0], va] = put_small(memory, pgds[place[0]], va, "page", pfn + k)
    for place, (kind, value) in entries.items():
        wanted[place[0], address(place)] = put_small(memory, pgds[place[0]], address(place), kind, value)
    mappings, tables, counts = run(memory, pgds, batch)
    pages = {key: value for key, value in wanted.items() if isinstance(value, Page)}
    assert contents(mappings) == pages
    assert swapped(mappings) == {key: value for key, value in wanted.items() if isinstance(value, Swap)}
    assert mappings.mapped_pages() == len(pages)
    assert sorted(tables.pfn.tolist()) == sorted(memory.tables)
    assert sorted(memory.reads) == sorted(memory.tables), "each table is read once"
    assert (counts.unreadable, counts.repeated, counts.bad, counts.truncated) == (0, 0, 0, False)
    assert counts.markers == sum(kind == "marker" for kind, _ in entries.values())


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize(
    ("shift", "entry", "flags"),
    [
        (21, fake.page(0x1200) | fake.PSE, HUGE),
        (21, fake.page(0x1200) | fake.PSE | 1 << 12, HUGE),  # PAT
        (21, fake.inverted(0x1200, fake.PSE | fake.GLOBAL), HUGE),
        (21, fake.inverted(0x1200, fake.PSE), HUGE),  # pmd_mkinvalid()
        (21, fake.swap(MIGRATION_TYPE, 0x1200), HUGE | MIGRATING),
        (21, fake.swap(DEVICE_TYPE, 0x1200), HUGE | DEVICE),
        (30, fake.page(0x40000) | fake.PSE, GIGANTIC),
        (30, fake.swap(MIGRATION_TYPE + 2, 0x40000), GIGANTIC | MIGRATING),
    ],
)
def test_huge_entries(levels, shift, entry, flags):  # type: ignore[no-untyped-def]
    memory = fake.FakeMemory(levels)
    pgd = memory.new_table()
    memory.set(pgd, 5 << shift, entry, shift)
    pages = contents(run(memory, [pgd])[0])
    pfn = 0x1200 if shift == 21 else 0x40000
    assert pages == {(0, (5 << shift) + k * 4096): Page(pfn + k, flags) for k in range(1 << (shift - 12))}


def test_huge_pages_that_follow_each_other_are_one_run() -> None:
    memory = fake.FakeMemory()
    pgd = memory.new_table()
    for k in range(100):
        memory.set(pgd, k << 21, fake.page(0x10000 + 512 * k) | fake.PSE, 21)
    mappings = run(memory, [pgd])[0]
    assert mappings.runs == 1
    assert mappings.mapped_pages() == 51200


def test_swapped_huge_page_is_one_run_of_slots() -> None:
    memory = fake.FakeMemory()
    pgd = memory.new_table()
    memory.set(pgd, 1 << 21, fake.swap(1, 0x5000), 21)
    assert len(swapped(run(memory, [pgd])[0])) == 512


def test_the_huge_zero_page_is_special() -> None:
    memory = fake.FakeMemory()
    pgd = memory.new_table()
    memory.set(pgd, 0, fake.page(0x3000) | fake.PSE, 21)
    memory.set(pgd, 1 << 21, fake.page(0x3200) | fake.PSE, 21)
    mappings = run(memory, [pgd])[0]
    assert mappings.mapcounts(0x3000, 1024).tolist() == [0] * 512 + [1] * 512


def test_zero_page_takes_one_run_per_table() -> None:
    memory = fake.FakeMemory()
    pgd = memory.new_table()
    for k in range(512):
        memory.set(pgd, k << 12, fake.page(9) | fake.SPECIAL)
    mappings = run(memory, [pgd])[0]
    assert mappings.runs == 1
    assert contents(mappings) == {(0, k << 12): Page(9, SPECIAL) for k in range(512)}
    assert mappings.mapcounts(0, 20).tolist() == [0] * 20


def test_encryption_bit_is_no_part_of_the_address() -> None:
    memory = fake.FakeMemory()
    pgd = memory.new_table()
    memory.set(pgd, 0, fake.page(5) | 1 << 47)
    memory.set(pgd, 4096, (~(6 << 12) & fake.MASK & ~(1 << 47)) | 1 << 47 | fake.GLOBAL)
    pages = contents(run(memory, [pgd], mask=ADDRESS_BITS & ~(1 << 47))[0])
    assert pages == {(0, 0): Page(5), (0, 4096): Page(6)}


def test_kernel_half_of_a_pgd_is_not_the_users() -> None:
    memory = fake.FakeMemory()
    pgd = memory.new_table()
    memory.set(pgd, 255 << 39, fake.page(5))
    memory.set(pgd, 256 << 39, fake.page(6))
    assert set(contents(run(memory, [pgd])[0]).values()) == {Page(5)}


def test_shared_hugetlb_table_is_read_once_and_belongs_to_all() -> None:
    memory = fake.FakeMemory()
    pgds = [memory.new_table() for _ in range(3)]
    for k in range(512):
        memory.set(pgds[0], (7 << 30) + (k << 21), fake.page(0x10000 + 512 * (511 - k)) | fake.PSE, 21)
    pud, index = memory.table_at(pgds[0], 7 << 30, 30)
    for pgd, va in ((pgds[1], 9 << 30), (pgds[2], 7 << 30)):
        memory.set(pgd, va, memory.tables[pud][index], 30)
    mappings, tables, counts = run(memory, pgds, batch=1)
    pages = contents(mappings)
    assert len(pages) == 3 * 512 * 512
    assert pages[1, (9 << 30) + (3 << 21) + 4096] == Page(0x10000 + 512 * 508 + 1, HUGE)
    assert mappings.mapcounts(0x10000, 1).tolist() == [1], "the kernel counts a shared table once"
    assert len(set(tables.pfn.tolist())) == len(tables)
    assert counts.repeated == 0


def test_equal_tables_of_many_processes_are_stored_once() -> None:
    memory = fake.FakeMemory()
    pgds = [memory.new_table() for _ in range(40)]
    for number, pgd in enumerate(pgds):
        for k in range(512):
            # Accessed and dirty differ; in two processes the last page is swapped.
            memory.set(pgd, (number << 21) + (k << 12), fake.page(0x5000 + 2 * k) | fake.DIRTY * (k % 2))
    memory.set(pgds[0], 511 << 12, fake.swap(0, 77))
    memory.set(pgds[1], (1 << 21) + (511 << 12), fake.swap(0, 77))
    mappings = run(memory, pgds, batch=7)[0]
    assert mappings.runs < 4 * 512
    pages = contents(mappings)
    assert len(pages) == 40 * 512 - 2
    assert swapped(mappings) == {(m, (m << 21) + (511 << 12)): Swap(0, 77) for m in (0, 1)}
    assert all(pages[m, (m << 21) + (k << 12)].pfn == 0x5000 + 2 * k for m in range(40) for k in range(511))
    counts = mappings.mapcounts(0x5000, 1024)
    assert counts[: 2 * 511 : 2].tolist() == [40] * 511
    assert counts[2 * 511] == 38
    assert not counts[1::2].any()


@given(
    words=st.lists(
        st.integers(0, (1 << 64) - 1)
        | st.integers(0x100, 0x140).map(lambda pfn: pfn << 12 | fake.TABLE_FLAGS),
        min_size=1,
        max_size=40,
    ),
    levels=st.sampled_from([4, 5]),
)
@example([0, 2_097_128_577, 129, 0, 0, 0, 0, 1048577], 4)
@settings(max_examples=30)
def test_garbage_ends(words, levels):  # type: ignore[no-untyped-def]
    """Every page is a table of every level, full of pointers at each other."""
    memory = fake.FakeMemory(levels)
    memory.tables = {0x100 + k: [words[(k + 7 * i) % len(words)] for i in range(512)] for k in range(0x40)}
    mappings, tables, counts = run(memory, [0x100, 0x101, 0x102], max_pfn=0x200)
    assert len(memory.reads) <= levels * len(memory.tables)
    assert len(tables) == counts.tables <= levels * len(memory.tables)
    assert mappings.runs <= 512 * len(memory.reads)


def test_self_pointing_table_is_met_once_per_level() -> None:
    memory = fake.FakeMemory()
    pgd = memory.new_table()
    memory.tables[pgd] = [pgd << 12 | fake.TABLE_FLAGS] * 512
    mappings, _, counts = run(memory, [pgd])
    assert len(memory.reads) == 3, "PGD, PUD, PMD"
    assert counts.repeated > 0
    assert mappings.runs <= 512


def test_unreadable_tables_are_counted() -> None:
    memory = fake.FakeMemory()
    pgd = memory.new_table()
    memory.set(pgd, 0, fake.page(5))
    memory.set(pgd, 1 << 30, 0x7777 << 12 | fake.TABLE_FLAGS, 30)  # in range, not there
    memory.set(pgd, 2 << 30, (MAX_PFN + 1) << 12 | fake.TABLE_FLAGS, 30)
    mappings, _, counts = run(memory, [pgd, 0x8888])
    assert contents(mappings) == {(0, 0): Page(5)}
    assert counts.unreadable == 3


def test_the_number_of_runs_is_limited() -> None:
    memory = fake.FakeMemory()
    pgds = [memory.new_table() for _ in range(4)]
    for number, pgd in enumerate(pgds):
        for k in range(512):
            memory.set(pgd, k << 12, fake.page(0x9000 + 3 * k + number))
    from pageowner.kernel.mapping_builder import MappingBuilder
    from pageowner.kernel.pagetable.invert import Inverter

    builder = MappingBuilder(4, limit=600)
    inverter = Inverter(memory.read, X86_64(4, ADDRESS_BITS, SWAPS), MAX_PFN, builder, batch=1)
    inverter.run(np.array(pgds))
    assert inverter.counts.truncated
    assert builder.runs == 1024


def test_swap_types_of_known_configurations() -> None:
    # Debian 6.12: MEMORY_FAILURE, MIGRATION, markers, no DEVICE_PRIVATE.
    assert swap_types(1, 3, 0, 1).max_swapfiles == 27
    assert swap_types(0, 0, 0, 0).max_swapfiles == 32


def isolated(memory: fake.FakeMemory, second: int) -> TablePages:
    """The tables of two processes whose PGDs are followed by a page full of *second*."""
    pgds = [0x1000, 0x2000]
    for pgd in pgds:
        memory.tables[pgd] = [0] * 512
        memory.set(pgd, 1 << 39, fake.page(5))
        first = memory.tables[pgd]
        # Under isolation the kernel's half has NX on the user's entries.
        first[1] |= fake.NX
        memory.tables[pgd + 1] = [word & ~fake.NX for word in first] if second < 0 else [second] * 512
    walked = run(memory, pgds)[1]
    return second_pgds(memory.read, walked)


def test_second_page_of_a_pgd_under_isolation() -> None:
    found = isolated(fake.FakeMemory(), -1)
    assert found.pfn.tolist() == [0x1001, 0x2001]
    assert found.mm.tolist() == [0, 1]
    assert set(found.role.tolist()) == {SECOND_PGD}
    assert len(isolated(fake.FakeMemory(), 0)) == 2, "compiled in, not active"


def test_another_page_behind_a_pgd_is_not_its_second() -> None:
    assert len(isolated(fake.FakeMemory(), 0x1234)) == 0


def test_runs_end_with_their_table() -> None:
    """The next table in memory is another process's, and its first page the next one."""
    memory = fake.FakeMemory()
    pgds = [0x1000, 0x2000]
    for number, pgd in enumerate(pgds):
        memory.tables[pgd] = [0] * 512
        memory.set(pgd, 511 << 12 if number == 0 else 0, fake.page(0x100 + number))
    assert contents(run(memory, pgds)[0]) == {(0, 511 << 12): Page(0x100), (1, 0): Page(0x101)}


def test_pages_on_both_sides_of_the_32_bit_line() -> None:
    memory = fake.FakeMemory()
    pgd = memory.new_table()
    line = 1 << 32
    for k in range(8):
        memory.set(pgd, k << 12, fake.page(line - 4 + k))
    mappings = run(memory, [pgd])[0]
    assert mappings.mapcounts(line - 5, 10).tolist() == [0, *[1] * 8, 0]
    found = mappings.of_blocks(np.array([line + 1]), np.array([1]))
    assert (found.pfn.tolist(), found.va.tolist()) == ([line + 1], [5 << 12])
