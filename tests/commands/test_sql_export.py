# SPDX-License-Identifier: LGPL-2.1-or-later
"""``pageowner sql`` and ``pageowner export`` as commands."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import polars as pl
import pytest

from pageowner.commands import main
from pageowner.snapshot.fields import TABLES, fields_of, sql_name
from pageowner.snapshot.store import load_snapshot
from tests.commands.lines import SNAPSHOT
from tests.conftest import Capture

LOADED = load_snapshot(Path(SNAPSHOT))
JOIN = (
    "select o.word, sum(u.pages) as pages from usage u join owners o on u.id = o.id "
    "join stacks s on u.stack = s.stack group by o.word order by pages desc"
)


def rows(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, object]]:
    assert main(["sql", "--json", *argv]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "pageowner.sql/1"
    return found["rows"]


def test_every_table_can_be_asked(
    capture: Capture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = str(tmp_path / "snap")
    assert main(["record", "-o", saved, str(capture.core)]) == 0
    for name in TABLES:
        (row,) = rows(capsys, f"select * from {sql_name(name)} limit 1", saved)
        assert list(row) == [field.name for field in fields_of(name)]


def test_joins_and_sums(capture: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, JOIN, "-c", str(capture.core))
    assert found[0]["pages"] > found[-1]["pages"] > 0
    (total,) = rows(capsys, "select sum(pages) as pages from owners", str(capture.core))
    (runs,) = rows(capsys, "select sum(n) as pages from pages", str(capture.core))
    assert total == runs


def test_text_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    question = "select word, sum(pages) as p from owners where word = 'SLAB_PAGE' group by word"
    slab = LOADED.owners.filter(word="SLAB_PAGE")["pages"].sum()
    assert main(["sql", question, SNAPSHOT]) == 0
    assert capsys.readouterr().out.split()[-2:] == ["SLAB_PAGE", str(slab)]
    assert main(["sql", "--csv", question, SNAPSHOT]) == 0
    assert capsys.readouterr().out == f"word,p\nSLAB_PAGE,{slab}\n"


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("select", "sql parser error: Expected: an expression, found: EOF"),
        ("", "one (and only one) statement can be parsed at a time"),
        ("select nope from owners", 'unable to find column "nope"'),
        ("select 1 from nope", "relation 'nope' was not found"),
        ("select owner + 1 from owners", "arithmetic on dtypes str"),
        ("select cast(owner as int) from owners", "conversion from `str` to `i32` failed"),
        ("select '\x1b[31m", "sql parser error"),
        ('select 1 from "\x1b[31m"', "relation '\\033[31m' was not found"),
    ],
)
def test_questions_without_an_answer(
    question: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sql", question, SNAPSHOT]) == 1
    captured = capsys.readouterr()
    (told,) = captured.err.splitlines()
    assert told.startswith(f"pageowner: error: {line}") and "\x1b" not in told and captured.out == ""
    assert told.endswith("; 'pageowner sql --help' lists tables and columns")


def test_csv_holds_no_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "--csv", "select array_agg(owner) as o from owners group by word", SNAPSHOT]) == 1
    assert "CSV cannot hold lists" in capsys.readouterr().err


def test_export_of_tables(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["export", "-O", "csv", SNAPSHOT]) == 0
    text = capsysbinary.readouterr().out.decode()
    assert [tuple(row) for row in csv.reader(io.StringIO(text))][1:] == [
        tuple(map(str, row)) for row in LOADED.owners.iter_rows()
    ]
    assert main(["export", "-O", "jsonl", "--table", "stacks", SNAPSHOT]) == 0
    lines = capsysbinary.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == LOADED.stacks.to_dicts()
    target = tmp_path / "usage.parquet"
    assert main(["export", "-O", "parquet", "--table", "usage", "-o", str(target), SNAPSHOT]) == 0
    assert pl.read_parquet(target).equals(LOADED.usage)


@pytest.mark.parametrize("form", ["folded", "speedscope", "pprof"])
def test_export_of_stacks(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / form
    assert main(["export", "-O", form, "-o", str(target), SNAPSHOT]) == 0
    assert target.stat().st_size > 10_000
    assert main(["export", "-O", form, "--table", "owners", SNAPSHOT]) == 2
    assert f"{form} holds stacks" in capsys.readouterr().err


def test_folded_sums_to_all_that_is_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "-O", "folded", SNAPSHOT]) == 0
    found = [line.rpartition(" ") for line in capsys.readouterr().out.splitlines()]
    assert len({stack for stack, _, _ in found}) == len(found)
    used = LOADED.owners.filter(~pl.col("word").is_in(["FREE_PAGE", "PCP_FREE_PAGE"]))["pages"].sum()
    assert sum(int(size) for _, _, size in found) == used * 4096
