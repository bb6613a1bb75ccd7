# SPDX-License-Identifier: LGPL-2.1-or-later
"""The mapping store and what `report` says of it, held against the plainest code that could do the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pageowner.kernel.mapped_at import lowest, mapped
from pageowner.kernel.mapping import HUGE, MIGRATING, SPECIAL, Mappings, pieces
from pageowner.kernel.mapping_builder import MappingBuilder
from pageowner.kernel.mm import Mms

N_MMS = 4
# mm 0 is of two thread groups, mm 3 of none.
PAIRS = [(0, 100, 5), (0, 300, 9), (1, 200, 7), (2, 50, 1)]
SECOND = 1_000_000_000


def mms(pairs: list[tuple[int, int, int]] = PAIRS, n: int = N_MMS) -> Mms:
    mm, tgid, start = (np.array([pair[i] for pair in sorted(pairs)], np.int64) for i in range(3))
    address = np.arange(n).astype(np.uint64)
    return Mms(address, address, address.astype(np.int64), mm, tgid, start.astype(np.uint64) * SECOND, 0, 0)


class Run(NamedTuple):
    mm: int
    va: int
    pfn: int
    n: int
    flags: int = 0


# Members (mm, va), whether mapcounts count it once, and the runs in its table.
Group = tuple[list[tuple[int, int]], bool, list[Run]]


def store(runs: list[Run], groups: list[Group] | None = None) -> Mappings:
    builder = MappingBuilder(N_MMS)
    add(builder, runs)
    for members, once, group_runs in groups or []:
        (group,) = builder.new_groups(1, once=once)
        builder.join_groups(
            np.full(len(members), group),
            np.array([mm for mm, _ in members], np.int64),
            np.array([va for _, va in members], np.uint64),
        )
        add(builder, [run._replace(mm=int(group)) for run in group_runs])
    return builder.finish()


def add(builder: MappingBuilder, runs: list[Run]) -> None:
    columns = [np.array([run[i] for run in runs], t) for i, t in enumerate("i8 u8 i8 i8 u1".split())]
    builder.add(*columns)  # type: ignore[arg-type]


RUN = st.builds(
    Run,
    st.integers(0, N_MMS - 1),
    st.integers(0, 60).map(lambda page: page * 4096),
    st.integers(0, 50) | st.integers((1 << 32) - 30, (1 << 32) + 30),
    st.sampled_from([1, 1, 1, 2, 5, 8, 9, 30, 70, 512]),
    st.sampled_from([0, 0, 0, SPECIAL, MIGRATING, HUGE]),
)
BLOCK = st.tuples(
    st.integers(0, 90) | st.integers((1 << 32) - 40, (1 << 32) + 60), st.sampled_from([1, 1, 2, 8, 64])
)
GROUP = st.tuples(
    st.lists(
        st.tuples(st.integers(0, N_MMS - 1), st.sampled_from([1 << 30, 1 << 31])), min_size=1, max_size=4
    ),
    st.booleans(),
    st.lists(RUN.map(lambda run: run._replace(flags=run.flags & HUGE)), min_size=1, max_size=4),
)


def flatten(runs: list[Run], groups: list[Group]) -> list[Run]:
    out = list(runs)
    for members, _, group_runs in groups:
        out += [run._replace(mm=mm, va=va + run.va) for mm, va in members for run in group_runs]
    return out


def arrays(blocks: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([b[0] for b in blocks], np.int64), np.array([b[1] for b in blocks], np.int64)


@given(st.lists(RUN, max_size=30), st.lists(GROUP, max_size=3), st.lists(BLOCK, min_size=1, max_size=8))
@settings(max_examples=80)
def test_of_blocks_finds_every_overlap_once(runs, groups, blocks):  # type: ignore[no-untyped-def]
    found = store(runs, groups).of_blocks(*arrays(blocks))
    ours = sorted(
        zip(*(getattr(found, c).tolist() for c in ("block", "pfn", "n", "mm", "va", "flags")), strict=True)
    )
    wanted = []
    for number, (start, n) in enumerate(blocks):
        for run in flatten(runs, groups):
            low, high = max(run.pfn, start), min(run.pfn + run.n, start + n)
            if low < high:
                wanted.append((number, low, high - low, run.mm, run.va + (low - run.pfn) * 4096, run.flags))
    assert ours == sorted(wanted)
    assert (
        store(runs, groups).candidates(*arrays(blocks)) >= np.bincount(found.block, minlength=len(blocks))
    ).all()


@given(st.lists(RUN, max_size=30), st.lists(GROUP, max_size=3), BLOCK)
@settings(max_examples=80)
def test_mapcounts_are_the_kernels(runs, groups, block):  # type: ignore[no-untyped-def]
    start, n = block
    counted = runs + [
        run for members, once, group in groups for run in group for _ in range(1 if once else len(members))
    ]
    wanted = [
        sum(run.pfn <= pfn < run.pfn + run.n and not run.flags & (SPECIAL | MIGRATING) for run in counted)
        for pfn in range(start, start + n)
    ]
    assert store(runs, groups).mapcounts(start, n).tolist() == wanted


class Line(NamedTuple):
    block: int
    tgid: int
    mm: int
    start: int
    end: int
    page: int
    special: bool
    migrating: bool


def naive_lines(runs: list[Run], blocks: list[tuple[int, int]]) -> list[Line]:
    """Page by page, then joined."""
    lines: list[Line] = []
    for number, (start, n) in enumerate(blocks):
        pages = sorted(
            {
                (run.mm, run.va + k * 4096, run.pfn + k, run.flags & (SPECIAL | MIGRATING))
                for run in runs
                for k in range(run.n)
                if start <= run.pfn + k < start + n
            }
        )
        joined: list[list[int]] = []
        for mm, va, pfn, kind in pages:
            last = joined[-1] if joined else None
            if last and [mm, va, pfn - start - (va - last[1]) // 4096, kind] == [
                last[0],
                last[2],
                last[3],
                last[4],
            ]:
                last[2] = va + 4096
            else:
                joined.append([mm, va, va + 4096, pfn - start, kind])
        for mm, va, end, page, kind in joined:
            for tgid in [t for m, t, _ in PAIRS if m == mm] or [-1]:
                line = Line(number, tgid, mm, va, end, page, bool(kind & SPECIAL), bool(kind & MIGRATING))
                lines += [line]
    return sorted(lines, key=lambda line: (line.block, line.tgid, line.start))


# Runs that often follow each other in address, in PFN, or in both.
NEAR = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 3), st.sampled_from([0, 0, 0, 5]), st.integers(1, 3)),
    max_size=12,
).map(
    lambda steps: [
        Run(
            mm, 4096 * (10 + sum(s[3] for s in steps[:k])), 10 + shift + sum(s[3] for s in steps[:k]), n, kind
        )
        for k, (mm, kind, shift, n) in enumerate(steps)
    ]
)


# As in life, an address is mapped once.
def once(runs: list[Run]) -> list[Run]:
    out: list[Run] = []
    used: set[tuple[int, int]] = set()
    for run in runs:
        pages = {(run.mm, run.va + k * 4096) for k in range(run.n)}
        if not pages & used:
            used |= pages
            out.append(run)
    return out


@given(st.lists(RUN, max_size=30).map(once) | NEAR, st.lists(BLOCK, min_size=1, max_size=6))
@settings(max_examples=100)
def test_mapped_lines(runs, blocks):  # type: ignore[no-untyped-def]
    found = mapped(store(runs), mms(), *arrays(blocks))
    columns = [getattr(found, name).tolist() for name in Line._fields]
    assert [Line(*row) for row in zip(*columns, strict=True)] == naive_lines(runs, blocks)


@given(
    st.lists(RUN.map(lambda run: run._replace(flags=0)), max_size=30).map(once)
    | NEAR.map(lambda runs: [run._replace(flags=0) for run in runs]),
    st.lists(
        st.tuples(BLOCK, st.sampled_from([50, 100, 200, 300, 999]), st.integers(0, 12)),
        min_size=1,
        max_size=6,
    ),
)
@settings(max_examples=100)
def test_lowest_range(runs, blocks):  # type: ignore[no-untyped-def]
    pfn, n = arrays([block for block, _, _ in blocks])
    tgid = np.array([t for _, t, _ in blocks], np.int64)
    ts = np.array([seconds * SECOND for _, _, seconds in blocks], np.uint64)
    found = lowest(store(runs), mms(), pfn, n, tgid, ts)
    for number, (block, allocator, seconds) in enumerate(blocks):
        lines = naive_lines(runs, [block])
        # One second and 100 ppm of slack between the clocks.
        alive = any(t == allocator and start <= seconds + 1 for _, t, start in PAIRS)
        own = {mm for mm, t, _ in PAIRS if t == allocator and alive}
        mine = [line for line in lines if line.mm in own]
        others = [line for line in lines if line.tgid >= 0]
        if mine:
            first = min(mine, key=lambda line: line.start)
            wanted = (first.start, first.end, 0)
        elif lines:
            first = min(others or lines, key=lambda line: (line.tgid, line.start))
            wanted = (first.start, first.end, first.tgid)
        else:
            wanted = (0, 0, 0)
        assert (int(found.start[number]), int(found.end[number]), int(found.by_pid[number])) == wanted


def test_lowest_takes_no_process_that_started_after_the_allocation() -> None:
    mappings = store([Run(0, 0x1000, 7, 1), Run(2, 0x9000, 7, 1)])
    both = np.array([7, 7]), np.array([1, 1]), np.array([300, 300])
    found = lowest(mappings, mms(), *both, np.array([4 * SECOND, 30 * SECOND], np.uint64))
    # tgid 300 has mm 0, which tgid 100 shares; the number was another process's at second 4.
    assert found.by_pid.tolist() == [50, 0]
    assert found.start.tolist() == [0x9000, 0x1000]


def test_mm_without_a_task_comes_last() -> None:
    mappings = store([Run(3, 0x1000, 7, 1), Run(1, 0x9000, 7, 1), Run(3, 0x3000, 8, 1)])
    pfn = np.array([7, 8])
    found = lowest(mappings, mms(), pfn, np.ones(2, np.int64), np.array([1, 1]), np.zeros(2, np.uint64))
    assert found.by_pid.tolist() == [200, -1]


@pytest.mark.parametrize("va_bits", [47, 56])
def test_highest_addresses_and_mms(va_bits: int) -> None:
    most = MappingBuilder.most_mms(va_bits)
    builder = MappingBuilder(most, va_bits)
    va = (1 << va_bits) - 4096
    add(builder, [Run(most - 1, va, (1 << 40) - 1, 1), Run(0, 0, 3, 2)])
    found = builder.finish().of_blocks(np.array([0]), np.array([1 << 41]))
    assert sorted(zip(found.mm.tolist(), found.va.tolist(), found.pfn.tolist(), strict=True)) == [
        (0, 0, 3), (most - 1, va, (1 << 40) - 1),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="mms"):
        MappingBuilder(most + 1, va_bits)


def test_single_pages_take_twelve_bytes() -> None:
    builder = MappingBuilder(1)
    n = 10_000
    builder.add(
        np.zeros(n, np.int64), np.arange(n).astype(np.uint64) << np.uint64(12), np.arange(n)[::-1] * 2,
        np.ones(n, np.int64), np.zeros(n, np.uint8),
    )  # fmt: skip
    assert builder.finish().nbytes <= 12 * n + 64


@given(st.lists(st.integers(0, 10), max_size=20), st.integers(1, 15))
def test_pieces_cover_all_blocks(counts, limit):  # type: ignore[no-untyped-def]
    parts = list(pieces(np.array(counts, np.int64), limit))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(len(counts)))
    assert all(sum(counts[p]) <= limit or p.stop - p.start == 1 for p in parts)


def test_lines_end_where_address_pfn_or_kind_do_not_go_on() -> None:
    runs = [
        Run(1, 0x1000, 100, 2),
        Run(1, 0x3000, 102, 1),  # goes on
        Run(1, 0x4000, 105, 1),  # other PFN
        Run(1, 0x6000, 106, 1),  # other address
        Run(1, 0x7000, 107, 1, SPECIAL),  # other kind
    ]
    found = mapped(store(runs), mms(), np.array([96]), np.array([32]))
    assert found.start.tolist() == [0x1000, 0x4000, 0x6000, 0x7000]
    assert found.end.tolist() == [0x4000, 0x5000, 0x7000, 0x8000]
    assert found.page.tolist() == [4, 9, 10, 11]
    low = lowest(
        store(runs),
        mms(),
        np.array([96]),
        np.array([32]),
        np.array([200]),
        np.array([10 * SECOND], np.uint64),
    )
    assert (low.start.tolist(), low.end.tolist()) == ([0x1000], [0x4000])


def test_neighbouring_gigantic_pages_are_one_run_or_two() -> None:
    builder = MappingBuilder(1)
    one = np.array([0], np.int64)
    gib = 1 << 18
    builder.add(one, np.array([1 << 30], np.uint64), one + gib, one + 2 * gib, np.array([8], np.uint8))
    found = builder.finish().of_blocks(np.array([gib + 5, 2 * gib + 7]), np.array([1, 1]))
    assert sorted(zip(found.pfn.tolist(), found.va.tolist(), strict=True)) == [
        (gib + 5, (1 << 30) + 5 * 4096),
        (2 * gib + 7, (2 << 30) + 7 * 4096),
    ]
