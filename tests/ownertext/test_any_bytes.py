# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever bytes a text has, everything that reads texts ends well and counts each record once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pageowner.commands import main
from pageowner.errors import SourceError
from pageowner.ownertext.health import Health
from pageowner.ownertext.rewrite import rewritten
from pageowner.ownertext.sort import sort_text, sorted_text
from pageowner.ownertext.sort_options import SortOptions, parse_cull, parse_sort
from pageowner.snapshot.from_text import text_snapshot
from tests.ownertext.test_read import anything, read
from tests.ownertext.test_stack_list import pieces
from tests.ownertext.texts import fields, record

lists = st.lists(pieces | st.binary(max_size=9), max_size=9).map(b"".join)
texts = anything | st.lists(anything | fields.map(lambda one: record(**one)), max_size=5).map(b"".join)
OPTIONS = [
    SortOptions(),
    SortOptions(order=parse_sort("at,-n,ator")),
    SortOptions(order=parse_sort("-ft,T,mod"), cull=parse_cull("st,p,tg,n,f,ator,mod")),
    SortOptions(cull=parse_cull("f"), pids=(7, -1), names=("a",), held_only=True),
]


@settings(max_examples=40)
@given(texts, st.sampled_from(OPTIONS))
def test_sort(raw: bytes, options: SortOptions) -> None:
    found = sort_text([raw], options)
    assert found.health.records == read(raw).records.height
    assert b"".join(sorted_text(found, options)).count(b" times, ") >= found.frame.height


@settings(max_examples=40)
@given(texts, st.booleans(), st.booleans())
def test_report(raw: bytes, owners: bool, visible: bool) -> None:
    again = b"".join(rewritten(Health().cuts([raw]), owners=owners, mappings=owners, visible=visible))
    assert read(again).records["order"].to_list() == read(raw).records["order"].to_list()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=texts)
def test_summary(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(raw)
    records = read(raw).records
    if not records.height:
        with pytest.raises(SourceError):
            text_snapshot(path)
        return
    snapshot = text_snapshot(path, by=["node"])
    counted = records.filter(records["kind"] != 2)["n"].sum()
    sums = [table["pages"].sum() for table in (snapshot.usage, snapshot.owners, snapshot.groupings["node"])]
    assert sums == [counted] * 3


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=texts | lists, new=texts | lists)
def test_commands_say_what_is_wrong_in_lines(
    old: bytes, new: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    snap, out = str(tmp_path / "snap"), str(tmp_path / "out")
    asked = (
        ["diff", str(tmp_path / "old"), str(tmp_path / "new"), "-f", "-o", out],
        ["record", str(tmp_path / "old"), "-f", "-o", snap],
        ["summary", "--by", "age", str(tmp_path / "old"), "-f", "-o", out],
        ["sort", "-m", "--cull=st", "--force", str(tmp_path / "old"), out],
    )
    for command in asked:
        assert main(command) in (0, 1, 4)
        lines = capsys.readouterr().err.splitlines()
        assert all(line.startswith(("pageowner: ", "Wrote ", "  pageowner ")) for line in lines)
        assert not any("internal error" in line for line in lines)
