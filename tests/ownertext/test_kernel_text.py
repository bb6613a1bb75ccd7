# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our page_owner text against the kernel's own, record by record."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest

from pageowner.kernel.stackdepot import StackDepot, special_handles
from tests import deviations
from tests.ownertext.kernel_words import Ours, Words

Records = dict[tuple[int, int], Words]


def both(one: Records, two: Records) -> list[tuple[Words, Words]]:
    return [(one[key], two[key]) for key in one.keys() & two.keys()]


def test_every_record_is_in_the_core_unless_it_came_or_went_meanwhile(
    ours: Ours, capture: Any, kernel_words: Records, our_words: Records
) -> None:
    """The guest runs on while its text is saved: what is on one side only has changed after that began."""
    assert len(kernel_words) > 5000
    assert len(kernel_words.keys() & our_words.keys()) >= 0.98 * len(kernel_words)
    began = last_message(capture.text("dmesg.txt"))
    apart = kernel_words.keys() ^ our_words.keys()
    if not ours.last_event:
        assert len(apart) <= capture.changes
        return
    assert [key for key in apart if ours.last_event[key[0]] <= began] == []


def last_message(dmesg: str) -> int:
    """When the kernel's log, which is saved before the text, ended: ns since boot."""
    return max(int(stamp) for stamp in re.findall(r"(?m)^\d+,\d+,(\d+),", dmesg)) * 1000


def test_records_come_in_pfn_order(our_words: Records) -> None:
    pfns = [pfn for pfn, _ in our_words]
    assert pfns == sorted(pfns)


def test_lines_are_identical(kernel_words: Records, our_words: Records) -> None:
    for kernels, ours in both(kernel_words, our_words):
        assert ours.header == kernels.header
        assert ours.place == kernels.place
        assert ours.frames == kernels.frames
        assert ours.migrated == kernels.migrated


def test_memcg_lines_are_identical(
    ours: Ours, capture: Any, kernel_words: Records, our_words: Records
) -> None:
    if not ours.last_event:  # 5.10 has neither times nor these lines
        assert not any(words.charged for words in [*kernel_words.values(), *our_words.values()])
        return
    forgets = deviations.load()["memcg"].allows(capture.version)
    different = [(k.charged, o.charged) for k, o in both(kernel_words, our_words) if k.charged != o.charged]
    # The kernels that forget lines forget those of ordinary pages only, and never print a wrong one.
    assert all(k == b"" and o.startswith(b"Charged to memcg ") for k, o in different)
    assert not different or forgets
    assert any(words.charged.startswith(b"Charged to memcg ") for words in our_words.values())


def test_flags_are_identical_but_for_the_volatile(kernel_words: Records, our_words: Records) -> None:
    volatile = deviations.load()["flags"].values
    for kernels, ours in both(kernel_words, our_words):
        assert steady(ours.flags, volatile) == steady(kernels.flags, volatile)


def steady(flags: bytes, volatile: frozenset[str]) -> list[str]:
    match = re.fullmatch(r"0x[0-9a-f]+\((.*)\)", flags.decode())
    assert match is not None, flags
    return [part for part in match[1].split("|") if part.split("=")[0] not in volatile]


def test_nothing_was_bad(ours: Ours) -> None:
    assert (ours.texts.bad_handles, ours.texts.lost_charges) == (0, 0)
    assert b"bad stack handle" not in ours.text


def test_pages_per_stack_are_those_that_the_kernel_counts(ours: Ours, capture: Any) -> None:
    """Since 6.9 the depot counts the base pages outstanding of each stack: the sum over all records."""
    pages = ours.records.group_by("handle").agg(pages=(2 ** pl.col("order").cast(pl.Int64)).sum())
    stacks = StackDepot(ours.kernel).stacks(pages["handle"].to_numpy())
    if not capture.has("page_owner_stacks.txt"):
        assert (stacks.pages == -1).all()
        return
    counted = pl.DataFrame({"handle": stacks.handle, "counted": stacks.pages}).join(pages, on="handle")
    wrong = counted.filter(pl.col("pages") != pl.col("counted"))
    early = [handle for handle, name in special_handles(ours.kernel).items() if name == "early_handle"]
    assert len(counted) > 300
    assert wrong["handle"].to_list() == early  # allocated before counting began


def test_a_comm_with_escapes_spaces_and_parentheses_is_raw(
    ours: Ours, our_words: Records, kernel_words: Records
) -> None:
    if not ours.last_event:
        pytest.skip("records of 5.10 have no comm")
    odd = b"(a\x1b[31m) (b\\c)"
    assert sum(odd in words.header for words in kernel_words.values()) > 0
    assert sum(odd in words.header for words in our_words.values()) > 0


def test_a_handle_that_leads_nowhere_is_one_honest_line(ours: Ours) -> None:
    frame = ours.records.head(1).with_columns(handle=pl.lit(0x7FFFFFFF, pl.UInt32))
    before = ours.texts.bad_handles
    stacks = ours.texts.tables(frame).stacks.filter(pl.col("handle") == 0x7FFFFFFF)
    assert stacks["frames"].to_list() == [" (bad stack handle 0x7fffffff)\n"]
    assert ours.texts.bad_handles == before + 1


def test_the_last_free_half(ours: Ours) -> None:
    when = r"(, pid -?\d+, tgid -?\d+)?, free_ts \d+ ns" if ours.last_event else ""
    header = re.compile(rf"Page last freed via order \d+{when}, (free since|allocated again)")
    text = ours.freed_text
    assert len(text) == len(ours.freed) > 1000
    assert all(header.fullmatch(line) for line in text["header"].to_list())
    assert (text["tail"] == "").all()
    # Stacks of frees begin in the page allocator's freeing half.
    inner = text["frames"].str.split("\n").list.first().str.extract(r"^ (\w+)")
    assert inner.str.contains("free|release|register_early_stack|delete_from_lru").mean() > 0.95
    if ours.last_event:
        free = ours.freed.filter(~pl.col("allocated"))
        assert (free["free_ts_nsec"] >= free["ts_nsec"]).all()
