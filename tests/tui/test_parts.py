"""The parts without a screen: pace, moments, texts, rows."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pageowner.analyses.watch import GROUPS, WHOLE, Narrow, compared, rows
from pageowner.rawtext import carry
from pageowner.reporters.palette import FAMILIES
from pageowner.snapshot.tables import Snapshot
from pageowner.sources.live import NEEDED
from pageowner.tui.columns import sparkline
from pageowner.tui.meter import Memory, bar, legend
from pageowner.tui.pace import SHARE, Pace
from pageowner.tui.series import MOST_MOMENTS, Moment, Series
from pageowner.tui.shown import fit, shown, small_size
from pageowner.tui.view import View
from tests.tui.conftest import grown

GIB = 1 << 30


@given(st.floats(0.1, 600), st.floats(0, 1000), st.integers(0, 99), st.none() | st.integers(0, 1 << 40))
def test_scans_never_take_more_than_a_share(
    interval: float, scan: float, failures: int, available: int | None
) -> None:
    pace = Pace(interval, scan, failures)
    wait = pace.wait(available)
    assert wait >= interval and wait >= SHARE * scan and math.isfinite(wait)
    assert bool(pace.refusal(available)) == (available is not None and available < NEEDED)
    assert bool(pace.why(available)) == (wait > interval) or wait == interval


def test_short_memory_and_failures_slow_down() -> None:
    assert Pace(5).wait(GIB) == 5 and Pace(5, 2.0).wait(GIB) == 20
    assert Pace(5).wait(NEEDED + 1) == 20 and Pace(5).why(NEEDED + 1) == "memory is short"
    assert Pace(5, failures=2).wait(GIB) == 20 and Pace(5, failures=100).wait(GIB) == 160
    refusal = Pace(5).refusal(100 << 20)
    assert refusal is not None and refusal.startswith("only 100 MiB of memory are available here")


def test_intervals_step() -> None:
    pace = Pace(5)
    pace.slower()
    assert pace.interval == 10
    for _ in range(20):
        pace.faster()
    assert pace.interval == 1
    for _ in range(20):
        pace.slower()
    assert pace.interval == 600


def moments(demo: Snapshot, count: int, series: Series) -> None:
    for _ in range(count):
        series.add(Moment(series.next_number, demo, datetime(2026, 1, 1), 1.0))


def test_old_moments_go_but_the_mark_stays(demo: Snapshot) -> None:
    series = Series()
    moments(demo, MOST_MOMENTS + 30, series)
    assert len(series.moments) <= MOST_MOMENTS and series.following
    assert series.mark is not None and series.mark.number == 1
    numbers = [moment.number for moment in series.moments]
    assert numbers == list(range(numbers[0], MOST_MOMENTS + 31))
    assert sum(moment.bytes for moment in series.moments) <= 64 << 20
    kept = Series(keep_all=True)
    moments(demo, MOST_MOMENTS + 30, kept)
    assert len(kept.moments) == MOST_MOMENTS + 30


def test_who_looks_back_is_not_moved(demo: Snapshot) -> None:
    series = Series()
    moments(demo, 10, series)
    assert series.step(-4) and series.shown.number == 6 and not series.following
    moments(demo, 5, series)
    assert series.shown.number == 6
    assert series.before(series.shown) is series.moments[4] and series.before(series.moments[0]) is None
    assert [m.number for m in series.upto(series.shown, 3)] == [4, 5, 6]
    assert series.step(99) and series.following and not series.step(1)


@given(st.text() | st.binary().map(carry))
def test_shown_text_is_one_printable_line(text: str) -> None:
    assert shown(text).isprintable()
    if text.isascii() and text.isprintable() and "\\" not in text:
        assert shown(text) == text


@given(st.text(), st.integers(0, 50))
def test_texts_fit(text: str, width: int) -> None:
    assert cell_len(fit(shown(text), width)) == width


def test_shown_keeps_what_can_be_read() -> None:
    assert shown("漢字 é") == "漢字 é"
    assert (
        shown("\x1b[0m") == "\\033[0m"
        and shown("\x9b") == "\\302\\233"
        and shown("\u202e") == "\\342\\200\\256"
    )


def test_sizes_in_few_characters() -> None:
    assert [small_size(n) for n in (0, 999, 4096, 40 << 20, 3 << 29, 1 << 50)] == [
        "0B", "999B", "4.0K", "40M", "1.5G", "1.0P",
    ]  # fmt: skip
    assert all(len(small_size(2**n * 0.99)) <= 5 for n in range(60))


@given(
    st.lists(st.integers(0, 1 << 45), min_size=8, max_size=8), st.integers(10, 200), st.integers(0, 1 << 30)
)
def test_the_bar_and_its_legend_fit(pages: list[int], width: int, unseen: int) -> None:
    """Whole entries only: half a number would be another number. On 80 cells there is room for all."""
    found = Memory(dict(zip((family.name for family in FAMILIES), pages, strict=True)), unseen)
    line = legend(found, width).plain
    assert len(line) <= width and len(bar(found, width)) == width
    sizes = re.findall(r" ([0-9.]+[BKMGTP])(?= |$)", line)
    assert len(sizes) == len(re.findall(r"\d[BKMGTP]", line))
    wanted = [small_size(count * 4096) for count in pages if count]
    assert all(size in [*wanted, small_size(unseen * 4096)] for size in sizes)
    if width >= 80:
        assert sizes[: len(wanted)] == wanted


def test_sparklines() -> None:
    assert sparkline([]) == "" and sparkline([5, 5]) == "▁▁" and sparkline([0, 7, 3]) == "▁█▄"


def test_rows_add_up_at_every_level(demo: Snapshot) -> None:
    """What is inside a row sums to the row, all the way in, from every grouping that leads further."""
    for by in GROUPS.keys() - set(WHOLE):
        view: View | None = View(by)
        expected = None
        while view is not None:
            table = rows(demo, view.by, view.where)
            if expected is not None:
                assert int(table["pages"].sum()) == expected, view
            key, name, expected = table.row(min(3, table.height - 1), named=False)[0], "x", None
            expected = int(table.filter(pl.col("key") == key)["pages"][0])
            last, view = view, view.entered(key, name)
        where = last.pages_of(key)
        assert where is not None and where.id is not None and where.stack is not None


def test_comparing(demo: Snapshot) -> None:
    now = rows(grown(demo, "SLAB_PAGE", "dentry", 6), "owner", Narrow())
    then = rows(demo, "owner", Narrow())
    gone = then.filter(pl.col("name") != "dentry")
    table = compared(now, then, then, 2.0)
    assert table.filter(pl.col("change") != 0).select("name", "change", "rate").rows() == [("dentry", 6, 3.0)]
    assert not compared(then, then, then, 1.0)["change"].abs().sum()
    left = compared(gone, then, then, 0.0)
    row = left.filter(pl.col("name") == "dentry").row(0, named=True)
    assert row["pages"] == 0 and row["change"] < 0 and row["rate"] is None
    assert int(left["pages"].sum()) == int(gone["pages"].sum())


def test_an_unknown_grouping(demo: Snapshot) -> None:
    with pytest.raises(KeyError):
        rows(replace(demo, groupings={}), "process", Narrow())
