# SPDX-License-Identifier: LGPL-2.1-or-later
"""Filters: what each one keeps, and that nothing is lost or counted twice."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import fields, replace
from fnmatch import fnmatchcase

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given

from pageowner.analyses.filters import Filter, _regex
from pageowner.commands import main
from pageowner.commands.filters import HELP, OPTIONS, glob, number, orders, seconds
from pageowner.errors import SourceError
from pageowner.snapshot.keys import stack_key
from pageowner.snapshot.part import part_of
from tests.commands.lines import SNAPSHOT
from tests.snapshots.make import snapshot, table

MADE = snapshot(
    [
        ("SLAB_PAGE", "dentry", "new_slab < d_alloc < open", 1),
        ("SLAB_PAGE", "dentry", "new_slab < fill [drv] < open", 2),
        ("SLAB_PAGE", "inode", "", 4),
        ("ANON_PAGE", "pid 7 (bash)", "d_alloc_x < fault", 8),
        ("PIPE_PAGE", "pid 77 (a.out) fd 3", "drv < pipe [other]", 16),
        ("LARGE_KMALLOC_PAGE", "d_alloc+0x1", "d_alloc < boot [drv2]", 32),
    ]
)
STACKS = {"old": stack_key(["d_alloc_x", "fault"]), "young": stack_key(["drv", "pipe [other]"])}
TABLES = replace(
    MADE,
    usage=MADE.usage.with_columns(
        node=pl.when(pl.col("pages") < 8).then(0).otherwise(1).cast(pl.Int16),
        zone=pl.when(pl.col("pages") == 32).then(2).otherwise(1).cast(pl.Int8),
        order=pl.col("pages").log(2).round().cast(pl.Int8),
        youngest_ns=pl.when(pl.col("stack") == 0).then(0)
        .when(pl.col("stack") == STACKS["old"]).then(int(1e9))
        .otherwise(int(100e9)).cast(pl.UInt64),
        oldest_ns=pl.when(pl.col("stack") == 0).then(0)
        .when(pl.col("stack") == STACKS["young"]).then(int(99e9))
        .otherwise(int(0.5e9)).cast(pl.UInt64),
    ),
    zones=table(
        "zones",
        [(node, name, i, 0, 0, 0, 0, 0) for node in (0, 1) for i, name in ((1, "DMA32"), (2, "Normal"))],
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "pages"),
    [
        (Filter(), 63),
        (Filter(kinds=("slab",)), 7),
        (Filter(kinds=("SLAB_PAGE", "pipe")), 23),
        (Filter(kinds=("*",)), 63),
        (Filter(kinds=("LARGE_*",)), 32),
        (Filter(owners=("dentry",)), 3),
        (Filter(owners=("*e*",)), 7),
        (Filter(owners=("pid ? (bash)",)), 8),
        (Filter(owners=("DENTRY",)), 0),
        (Filter(owners=("pid 7 (*", "pid 77 (*")), 24),
        (Filter(nodes=(0,)), 7),
        (Filter(nodes=(0, 1)), 63),
        (Filter(zones=("Normal",)), 32),
        (Filter(orders=((1, 2), (5, 5))), 38),
        (Filter(functions=("d_alloc",)), 33),
        (Filter(functions=("d_alloc*",)), 41),
        (Filter(functions=("fill",)), 2),
        (Filter(functions=("fi*n",)), 0),
        (Filter(modules=("drv",)), 2),
        (Filter(modules=("drv*",)), 34),
        (Filter(older=98), 8),
        (Filter(older=0), 59),
        (Filter(younger=2), 16),
        (Filter(kinds=("slab",), functions=("open",), orders=((0, 0),)), 1),
    ],
    ids=repr,
)
def test_what_each_keeps(wanted: Filter, pages: int) -> None:
    part = part_of(TABLES, wanted)
    assert part.usage["pages"].sum() == part.owners["pages"].sum() == pages
    assert part.usage.schema == TABLES.usage.schema and part.owners.schema == TABLES.owners.schema
    assert set(part.usage["id"]) == set(part.owners["id"])
    assert bool(wanted) == (wanted != Filter()) == bool(str(wanted))


@pytest.mark.parametrize(
    ("wanted", "flag"),
    [
        (Filter(pids=(7,)), "--pid"),
        (Filter(tgids=(7,)), "--tgid"),
        (Filter(comms=("a",)), "--comm"),
        (Filter(cgroups=("a",)), "--cgroup"),
        (Filter(gfps=("a",)), "--gfp"),
        (Filter(migrate_types=("a",)), "--migrate-type"),
        (Filter(pfns=((1, 2),)), "--pfn"),
        (Filter(cmas=("a",)), "--cma"),
    ],
    ids=str,
)
def test_what_the_tables_do_not_say(wanted: Filter, flag: str) -> None:
    with pytest.raises(SourceError, match=f"does not say what {flag} asks for"):
        part_of(TABLES, wanted)


def test_the_table_of_options_is_the_filter() -> None:
    assert {option.member for option in OPTIONS} == {field.name for field in fields(Filter)}
    assert all(option.help for option in OPTIONS) and "GLOB" in HELP


@pytest.mark.parametrize("command", ["report", "summary", "diff", "export", "sql", "record"])
def test_one_help_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert " ".join(HELP.split()) in shown
    assert all(option.flag in shown and option.help in shown for option in OPTIONS)


@given(st.text("ab*?.[]\\ (é", max_size=6), st.text("ab.[]\\ (é", max_size=6))
def test_globs(glob: str, text: str) -> None:
    """As fnmatch, but [ is no wildcard: modules stand in brackets."""
    ours = pl.Series([text]).str.contains(rf"(?s)\A{_regex(glob, '.')}\z")[0]
    assert ours == fnmatchcase(text, glob.replace("[", "[[]"))


def test_summary_of_some(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--json", "--kind", "slab", SNAPSHOT]) == 0
    found = json.loads(capsys.readouterr().out)
    (kind,) = found["kinds"]
    assert kind["word"] == "SLAB_PAGE" and found["totals"] == {"struct_pages": kind["pages"]}
    assert found["counters"] == []
    assert main(["summary", "--kind", "slab", SNAPSHOT]) == 0
    text = capsys.readouterr().out
    assert "100.00" in text and "present" not in text and "ANON_PAGE" not in text
    assert main(["summary", "--kind", "slab", "--by", "module", SNAPSHOT]) == 0
    assert re.search(r"^ kernel +\S+ MiB +SLAB_PAGE \d+ *$", capsys.readouterr().out, re.MULTILINE)


def test_filters_of_diff_and_export(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--json", SNAPSHOT, SNAPSHOT, "--kind", "slab"]) == 0
    capsys.readouterr()
    assert main(["export", "-O", "jsonl", "--owner", "dentry", SNAPSHOT]) == 0
    assert [json.loads(line)["owner"] for line in capsys.readouterr().out.splitlines()] == ["dentry"]


@pytest.mark.parametrize("text", ["", "-1", "x", "1_0", "\u0661", "9" * 12])
def test_no_numbers(text: str) -> None:
    for kind in (number, orders):
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


def test_numbers() -> None:
    assert (number("12"), orders("3"), orders("3-10"), seconds("1.5")) == (12, (3, 3), (3, 10), 1.5)
    assert (seconds("5m"), seconds("1.5h"), seconds("2d"), seconds("7s")) == (300, 5400, 172800, 7)
    for text in ("", ".", "1e5", "nan", "inf", "-1", "3-", "1.2.3", "5w", "m"):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds(text)
    with pytest.raises(argparse.ArgumentTypeError):
        orders("10-3")
    for text in ("", "*" * 501):
        with pytest.raises(argparse.ArgumentTypeError, match="1 to 500 characters"):
            glob(text)
