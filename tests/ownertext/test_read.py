# SPDX-License-Identifier: LGPL-2.1-or-later
"""Any page_owner text becomes tables, and the tables the same text again."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pageowner.ownertext.read import OwnerText, read_text
from pageowner.ownertext.rewrite import write_text
from pageowner.rawtext import to_bytes
from tests.ownertext.kernel_words import Ours
from tests.ownertext.texts import FORMS, STACK, comms, fields, record


def read(*blocks: bytes) -> OwnerText:
    return read_text(blocks)


def again(text: OwnerText) -> bytes:
    return b"".join(write_text(text))


def stacks(text: OwnerText) -> pl.DataFrame:
    return text.records.select("stack", "pfn").join(
        text.stacks, on="stack", how="left", maintain_order="left"
    )


def test_the_kernels_text_comes_back_byte_for_byte_from_columns(capture: Any) -> None:
    if not capture.has("page_owner.txt"):
        pytest.skip("this kernel's own text is not in the capture")
    raw = capture.read("page_owner.txt")
    text = read(raw)
    assert again(text) == raw
    # Nothing was kept as it stood: every line is made of columns.
    assert text.records["raw_header"].null_count() == text.records["raw_pfnline"].null_count()
    assert text.records["raw_header"].null_count() == raw.count(b"\nPage allocated via order ") + 1
    assert not text.health.problems and text.records["n"].sum() >= text.records.height


def test_our_own_text_comes_back_and_says_its_kinds(ours: Ours, capture: Any) -> None:
    from pageowner.reporters.report_text import report_bytes
    from pageowner.snapshot.report import Selection, report_tables
    from pageowner.snapshot.scan import open_scan
    from pageowner.sources import open_core

    scan = open_scan(open_core(capture.core))
    raw = b"".join(report_bytes(t) for t in report_tables(scan, Selection(mappings=True)))
    text = read(raw)
    assert again(text) == raw and not text.records["inferred"].any()
    assert text.records["mapped"].str.count_matches("^MAPPED|\nMAPPED").sum() == raw.count(b"\nMAPPED pid ")


@pytest.mark.parametrize("form", FORMS)
def test_every_form(form: str) -> None:
    text = read(FORMS[form] * 3)
    assert again(text) == FORMS[form] * 3 and not text.health.problems
    row = text.records.row(1, named=True)
    assert (row["pfn"], row["order"], row["n"], row["block"]) == (4097, 0, 1, 8)
    assert row["raw_header"] is None and row["raw_pfnline"] is None
    if "unrecorded" not in form and form != "freed":
        assert row["gfp_mask"] == 0x100CCA and row["gfp"] == "GFP_HIGHUSER_MOVABLE"
    assert row["flags"] == 0x100000000080034
    assert row["type_name"] == (None if form == "unrecorded" else "Movable")


def test_what_each_form_says_of_the_task() -> None:
    said = {}
    for form, raw in FORMS.items():
        row = read(raw).records.row(0, named=True)
        said[form] = tuple(row[name] for name in ("pid", "tgid", "comm", "ts_nsec", "free_ts_nsec"))
    assert said["5.10"] == (None, None, None, None, None)
    assert said["5.15"] == (7, None, None, 5, 3)
    assert said["6.1"] == said["6.5"] == (7, 6, "a b) c", 5, 3)
    assert said["6.8"] == said["7.3 handle"] == said["RFC"] == (7, 6, "a b) c", 5, None)
    freed = read(FORMS["freed"]).records.row(0, named=True)
    assert (freed["free_pid"], freed["free_tgid"], freed["free_ts_nsec"]) == (7, 6, 3)
    assert not freed["allocated"]


def test_what_follows_the_stack() -> None:
    rows = {form: stacks(read(raw)).row(0, named=True) for form, raw in FORMS.items()}
    assert rows["5.15"]["migrate_reason"] == "compaction" and rows["5.10"]["migrate_reason"] is None
    assert (rows["6.1"]["memcg"], rows["6.1"]["objcg"], rows["6.1"]["offline"]) == ("a b", True, True)
    assert (rows["6.5"]["memcg"], rows["6.5"]["objcg"], rows["6.5"]["offline"]) == ("/", False, False)
    assert rows["6.8"]["slab"] and not rows["6.5"]["slab"]
    assert rows["7.3 handle"]["handle"] == rows["7.3 stack_handle"]["handle"] == 17825816
    assert rows["7.3 handle"]["frames"] == "" and rows["7.3 stack_handle"]["frames"] == STACK.decode()


def test_kinds_are_inferred_only_where_the_text_does_not_say_them() -> None:
    said = {form: read(raw).records.select("word", "inferred").row(0) for form, raw in FORMS.items()}
    assert said["6.1"] == said["5.10"] == ("ANON_PAGE", True)
    assert said["RFC"] == said["mappings"] == said["unrecorded"] == ("ANON_PAGE", False)
    assert said["6.8"] == ("SLAB_PAGE", False)  # the memcg line says so
    assert said["6.5"] == ("SLAB_PAGE", False)  # the flags do, until 6.9
    assert said["7.3 handle"] == ("UNKNOWN_PAGE", True)


def test_equal_stacks_are_one_row_of_the_table() -> None:
    text = read(record(pfn=1) + record(pfn=2, comm=b"b") + record(pfn=3, stack=b" other+0x1/0x2\n"))
    assert text.records["stack"].to_list() == [0, 0, 1] and text.stacks.height == 2


def test_lines_before_the_first_record_are_kept_and_no_record() -> None:
    raw = b"# cat page_owner\n\nPFN 12 is no record\n" + record()
    text = read(raw)
    assert text.records.height == 1 and again(text) == raw


def test_text_of_nothing() -> None:
    for raw in (b"", b"\n", b"Page allocated via order ", b"hello", b"PFN 0x1 type"):
        text = read(raw)
        assert text.records.height == 0 and again(text) == raw


def test_an_order_that_no_allocator_has_counts_as_one_page() -> None:
    rows = read(record(order=3) + record(order=40) + record(order=99999)).records
    assert rows["n"].to_list() == [8, 1, 1]


@settings(max_examples=40)
@given(st.lists(fields, min_size=1, max_size=6))
def test_hostile_records(records: list[dict[str, Any]]) -> None:
    raw = b"".join(record(**one) for one in records)
    text = read(raw)
    assert again(text) == raw
    assert not text.health.problems
    for name in ("pfn", "order", "pid"):
        assert text.records[name].to_list() == [one[name] for one in records]
    assert text.records["ts_nsec"].to_list() == [one["ts"] for one in records]
    assert text.records["free_ts_nsec"].to_list() == [one.get("free_ts") for one in records]
    assert [to_bytes(comm) for comm in text.records["comm"]] == [one["comm"] for one in records]
    assert [to_bytes(each) for each in stacks(text)["frames"]] == [one["stack"] for one in records]


@settings(max_examples=40)
@given(comms, st.sampled_from(sorted(FORMS)), st.sampled_from(sorted(FORMS)))
def test_forms_may_be_mixed(comm: bytes, one: str, other: str) -> None:
    raw = FORMS[one] + record(pfn=77, comm=comm) + FORMS[other]
    text = read(raw)
    assert again(text) == raw and text.records["pfn"].to_list() == [4097, 77, 4097]


@settings(max_examples=40)
@given(st.data())
def test_cut_off_anywhere_it_stays_what_it_is(data: st.DataObject) -> None:
    raw = b"".join([FORMS["6.1"], record(pfn=5, comm=b"a\nb"), FORMS["mappings"], FORMS["7.3 handle"]])
    text = read(raw[: data.draw(st.integers(0, len(raw) - 1))])
    assert again(text) == raw[: len(again(text))]
    if text.records.height:
        assert text.health.cut_off or again(text).endswith(b"\n\n")


_PIECES = [
    b"\n",
    b" ",
    b"Page allocated via order 0, mask 0x0()",
    b", pid 1",
    b", tgid 1 (",
    b"), ts 1 ns\n",
    b"PFN 0x1 type ",
    b"PFN 1",
    b" Block 1 type A Flags 0x1(a|node=1)\n",
    b"\xff",
    b"\xf4\x8f\xbe\x80",
    b" f+0x1/0x2\n",
    b"SLAB_PAGE x\n",
    b"MAPPED x\n",
    b"Page of order 1, allocation not recorded\n",
    b"Page last freed via order 1",
    b", free since\n",
    b"99999999999999999999999",
    b"handle: 99999999999\n",
    b"Charged to memcg \n",
]
anything = st.lists(st.sampled_from(_PIECES) | st.binary(max_size=8), max_size=40).map(b"".join)


@settings(max_examples=40)
@given(anything, st.integers(1, 50))
def test_any_bytes_at_all_are_read_and_written_back(raw: bytes, size: int) -> None:
    blocks = [raw[i : i + size] for i in range(0, len(raw), size)]
    text = read_text(blocks)
    assert again(text) == raw
    assert text.records.height == read(raw).records.height
