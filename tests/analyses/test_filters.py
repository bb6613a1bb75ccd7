# SPDX-License-Identifier: LGPL-2.1-or-later
"""Filters: what each one keeps, and that nothing is lost or counted twice."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from fnmatch import fnmatchcase

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given

from pageowner.analyses.filters import Filter, _regex, filtered
from pageowner.commands import main
from pageowner.commands.filters import number, orders, seconds
from pageowner.snapshot.keys import stack_key
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
        (Filter(pids=(7,)), 8),
        (Filter(pids=(7, 77)), 24),
        (Filter(comms=("a.out",)), 16),
        (Filter(comms=("a?out", "b*")), 24),
        (Filter(comms=("a",)), 0),
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
    usage, owners = filtered(TABLES, TABLES.zones, wanted)
    assert usage["pages"].sum() == owners["pages"].sum() == pages
    assert usage.schema == TABLES.usage.schema and owners.schema == TABLES.owners.schema
    assert set(usage["id"]) == set(owners["id"])
    assert bool(wanted) == (wanted != Filter())


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
    assert main(["summary", "--kind", "slab", "--by", "process", SNAPSHOT]) == 2
    assert "--by process counts all pages" in capsys.readouterr().err
    assert main(["summary", "--kind", "slab", "--by", "module", SNAPSHOT]) == 0
    assert re.search(r"^ kernel +\S+ MiB +SLAB_PAGE \d+ *$", capsys.readouterr().out, re.MULTILINE)


def test_filters_of_diff_and_export(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--json", SNAPSHOT, SNAPSHOT, "--kind", "slab"]) == 0
    capsys.readouterr()
    assert main(["export", "-O", "jsonl", "--owner", "dentry", SNAPSHOT]) == 0
    assert [json.loads(line)["owner"] for line in capsys.readouterr().out.splitlines()] == ["dentry"]
    assert main(["export", "-O", "csv", "--table", "zones", "--kind", "slab", SNAPSHOT]) == 2
    assert "filters go with" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "-1", "x", "1_0", "\u0661", "9" * 12])
def test_no_numbers(text: str) -> None:
    for kind in (number, orders):
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


def test_numbers() -> None:
    assert (number("12"), orders("3"), orders("3-10"), seconds("1.5")) == (12, (3, 3), (3, 10), 1.5)
    for text in ("", ".", "1e5", "nan", "inf", "-1", "3-", "1.2.3"):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds(text)
    with pytest.raises(argparse.ArgumentTypeError):
        orders("10-3")
