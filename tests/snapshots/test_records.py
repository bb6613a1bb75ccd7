# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records in a snapshot: the same text as the source's, and the same pages whatever is asked for."""

from __future__ import annotations

import contextlib
import io
import json
import re
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from pageowner.commands import main
from pageowner.snapshot.store import load_snapshot
from tests.commands.lines import SNAPSHOT
from tests.conftest import Capture

pytestmark = pytest.mark.two_kernels

FILTERS = (
    ("--kind", "slab"),
    ("--comm", "w_*", "--order", "0"),
    ("--order", "1-9", "--comm", "*", "--migrate-type", "Movable"),
    ("--gfp", "__GFP_ZERO|__GFP_COMP"),
    ("--cgroup", "*"),
    ("--node", "0", "--zone", "DMA32", "--kind", "slab"),
    ("--function", "*alloc_slab*"),
    ("--cma", "*", "--comm", "*"),
    ("--younger", "1s"),
)
_HEADER = re.compile(rb"^Page allocated via order (\d+),", re.MULTILINE)
_OTHERS = re.compile(rb" \+(\d+) pages of \d+ other owners$", re.MULTILINE)


@cache
def output(*argv: str) -> bytes:
    """What ``pageowner ARGV`` writes to standard output."""
    text = io.TextIOWrapper(io.BytesIO(), write_through=True)
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
        assert main(list(argv)) == 0, argv
    return text.buffer.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.fixture(scope="module")
def saved(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recorded") / "snap"
    output("record", "-o", str(path), str(capture.core))
    return str(path)


WAYS = [(), ("--kernel-format",), ("--pfn", "0x1001-0x1fff"), *FILTERS]


@pytest.mark.parametrize("options", WAYS, ids=" ".join)
def test_report_is_that_of_the_source(capture: Capture, saved: str, options: tuple[str, ...]) -> None:
    text = output("report", *options, str(capture.core))
    assert output("report", *options, saved) == text
    if not options:
        assert text.count(b"\nPFN ") > 5000


@pytest.mark.parametrize("options", FILTERS, ids=" ".join)
def test_every_command_means_the_same_pages(
    capture: Capture, saved: str, options: tuple[str, ...]
) -> None:
    """Summary, report, export and sql, of the source and of the snapshot: one number of pages."""
    core = str(capture.core)
    text = output("report", *options, core)
    printed = sum(1 << int(order) for order in _HEADER.findall(text))
    others = sum(int(pages) for pages in _OTHERS.findall(text))
    kinds = kinds_of(core, *options)
    assert sum(kinds.values()) == printed - others
    assert kinds_of(saved, *options) == kinds
    assert exported(saved, "records", *options)["n"].sum() == printed - others
    told = json.loads(output("sql", "--json", "select sum(pages) as n from usage", *options, saved))
    assert (told["rows"][0]["n"] or 0) == printed - others


def kinds_of(source: str, *options: str) -> dict[str, int]:
    document = json.loads(output("summary", "--json", *options, source))
    found = {kind["word"]: kind["pages"] for kind in document["kinds"]}
    assert sum(found.values()) == document["totals"]["struct_pages"]
    return found


def exported(source: str, table: str, *options: str) -> pl.DataFrame:
    data = output("export", "-O", "parquet", "--table", table, *options, source)
    return pl.read_parquet(io.BytesIO(data))


def test_a_range_of_pages(capture: Capture, saved: str) -> None:
    """A range counts every page in it, though its ends lie within blocks."""
    for source in (str(capture.core), saved):
        assert sum(kinds_of(source, "--pfn", "0x1001-0x1fff").values()) == 0xFFF
        assert sum(kinds_of(source, "--pfn", "0x1001", "--pfn", "4100-4101").values()) == 3
    part = exported(saved, "pages", "--pfn", "0x1001-0x1fff")
    assert part["n"].sum() == 0xFFF and part["pfn"].min() == 0x1001


def test_tables_agree(saved: str) -> None:
    """Records say all that usage, owners, pages and the groupings say."""
    loaded = load_snapshot(Path(saved))
    records = loaded.records
    ends = records["pfn"] + records["n"]
    assert (ends.head(-1) <= records["pfn"].tail(-1)).all()
    assert records["n"].sum() == loaded.pages["n"].sum() == loaded.owners["pages"].sum()
    by_owner = records.group_by("id").agg(pl.col("n").sum()).sort("id")
    assert by_owner.rows() == loaded.owners.select("id", "pages").sort("id").rows()
    assert set(records["allocation"].drop_nulls()) <= set(loaded.allocations["allocation"])
    assert set(records["state"]) <= set(loaded.states["state"])
    assert set(loaded.allocations["stack"]) - {0} <= set(loaded.stacks["stack"])
    size = sum(Path(saved, f"{name}.parquet").stat().st_size for name in ("records", "allocations", "states"))
    assert size / records.height < 20


def test_a_part_can_be_recorded(capture: Capture, saved: str, tmp_path: Path) -> None:
    part = str(tmp_path / "part")
    output("record", "--kind", "slab", "-o", part, str(capture.core))
    assert kinds_of(part) == kinds_of(saved, "--kind", "slab")
    assert output("report", part) == output("report", "--kind", "slab", saved)
    assert load_snapshot(Path(part)).about["only"] == "kinds: slab"


@pytest.mark.parametrize("flag", ["--mappings", "--per-page", "--paths", "--freed"])
def test_what_a_snapshot_does_not_hold(flag: str, saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", flag, saved]) == 1
    assert f"is a snapshot, which does not hold what {flag} needs" in capsys.readouterr().err


def test_without_records(capture: Capture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = str(tmp_path / "small")
    assert main(["record", "--no-records", "-o", small, str(capture.core)]) == 0
    capsys.readouterr()
    for source in (small, SNAPSHOT):
        assert main(["report", source]) == 1
        assert capsys.readouterr().err.endswith(
            f"{source} was recorded without its records: record it anew, without --no-records\n"
        )
        assert main(["summary", "--pid", "1", source]) == 1
        assert "this source does not say what --pid asks for" in capsys.readouterr().err
        assert main(["summary", "--kind", "slab", source]) == 0
        capsys.readouterr()


@pytest.mark.parametrize("options", [("-m",), ("--cull=st", "--kind", "slab", "--order", "1-9")])
def test_sort_takes_it_for_its_source(capture: Capture, saved: str, options: tuple[str, ...]) -> None:
    """page_owner_sort's options and the filters that do not clash with them, on core, snapshot and text."""
    found = output("sort", *options, str(capture.core), "-")
    assert output("sort", *options, saved, "-") == found and found.count(b" times, ") > 10


def test_sort_of_a_filtered_text(saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "all.txt"
    text.write_bytes(output("report", saved))
    some = ("--cull=st", "--gfp", "__GFP_ZERO", "--younger", "100")
    assert output("sort", *some, str(text), "-") == output("sort", *some, saved, "-")
    assert output("sort", "--kind", "nothing", str(text), "-") == b""
    assert main(["report", "--younger", "1", "-"]) == 1
    assert "a pipe is read only once" in capsys.readouterr().err
