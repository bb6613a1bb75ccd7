# SPDX-License-Identifier: LGPL-2.1-or-later
"""`pageowner sort`: each of page_owner_sort's options, and what that tool gets wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pageowner.commands import main
from tests.ownertext.texts import FORMS, SLAB_STACK, STACK, fields, record

VMALLOC = b" alloc_pages+0x1/0x2\n __vmalloc_node_range+0x1/0x2\n vmalloc+0x1/0x2\n"
TEXT = b"".join(
    [
        record(pfn=1, pid=9, comm=b"bash", ts=30, stack=STACK),
        record(pfn=2, pid=3, comm=b"init", ts=10, stack=VMALLOC),
        record(pfn=4, pid=9, comm=b"bash", ts=20, stack=STACK),
        record(pfn=8, pid=5, comm=b"cc1", ts=40, stack=SLAB_STACK, order=3),
    ]
)
COUNTS = re.compile(rb"^(\d+) times, (\d+) pages", re.MULTILINE)


def sort(tmp_path: Path, *options: str, text: bytes = TEXT, status: int = 0) -> bytes:
    source, out = tmp_path / "in", tmp_path / "out"
    source.write_bytes(text)
    out.unlink(missing_ok=True)
    assert main(["sort", *options, str(source), str(out)]) == status
    return out.read_bytes()


def counts(output: bytes) -> list[tuple[int, int]]:
    return [(int(times), int(pages)) for times, pages in COUNTS.findall(output)]


def firsts(output: bytes, what: str) -> list[str]:
    """*what* of each group, in the order printed."""
    return re.findall(what, output.decode())


def test_the_form_of_a_whole_record(tmp_path: Path) -> None:
    assert sort(tmp_path).startswith(
        b"2 times, 2 pages, allocated by OTHERS :\n"
        b"Page allocated via order 0, mask 0xcc0(GFP_KERNEL), pid 9, tgid 9 (bash), ts  ns\n"
        + STACK
        + b"\n1 times"
    )


def test_the_form_of_a_culled_record(tmp_path: Path) -> None:
    found = sort(tmp_path, "-m", "--cull=st,pid,tg,n,ator,mod,f")
    assert found.startswith(
        b"1 times, 8 pages, PID 5, TGID 5, task_comm_name: cc1, module: brd, "
        b"allocated by SLAB  (UNRELEASED):\n"
        + SLAB_STACK
        + b"\n2 times, 2 pages, PID 9"
    )


@pytest.mark.parametrize(
    ("option", "pids"),
    [
        ("-t", "9 3 5"),
        ("-m", "5 9 3"),
        ("-a", "3 9 9 5"),
        ("-p", "3 5 9"),
        ("-P", "3 5 9"),
        ("-n", "9 5 3"),
        ("-s", "3 5 9"),
        ("-M", "5 3 9"),
        ("--sort=at", "3 9 9 5"),
        ("--sort=-alloc_ts", "5 9 9 3"),
        ("--sort=-p", "9 5 3"),
        ("--sort=+pid", "3 5 9"),
        ("--sort=n,-p", "9 5 3"),
        ("--sort=-tgid", "9 5 3"),
        ("--sort=st", "3 5 9"),
        ("--sort=-stacktrace", "9 5 3"),
        ("--sort=T", "3 9 5"),
        ("--sort=-txt", "5 9 3"),
        ("--sort=ator", "5 3 9"),
        ("--sort=-allocator,p", "9 3 5"),
        ("--sort=mod", "5 3 9"),
    ],
)
def test_each_order(tmp_path: Path, option: str, pids: str) -> None:
    assert firsts(sort(tmp_path, option), r"pid (\d+),") == pids.split()


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("st", [(2, 2), (1, 1), (1, 8)]),
        ("p", [(2, 2), (1, 1), (1, 8)]),
        ("name", [(2, 2), (1, 8), (1, 1)]),
        ("ator", [(2, 2), (1, 8), (1, 1)]),
        ("mod", [(3, 3), (1, 8)]),
        ("f", [(4, 11)]),
        ("tgid,free", [(2, 2), (1, 1), (1, 8)]),
    ],
)
def test_each_cull_key_adds_up(tmp_path: Path, option: str, found: list[tuple[int, int]]) -> None:
    assert counts(sort(tmp_path, f"--cull={option}")) == found


@pytest.mark.parametrize(
    ("option", "pids"),
    [
        ("--pid=3,5", {"3", "5"}),
        ("--tgid=9", {"9"}),
        ("--name=bash,cc1", {"9", "5"}),
        ("--module=brd", {"5"}),
        ("--name=bas", set()),
    ],
)
def test_each_selection(tmp_path: Path, option: str, pids: set[str]) -> None:
    assert set(firsts(sort(tmp_path, option), r"pid (\d+),")) == pids


def test_times_of_release(tmp_path: Path) -> None:
    """-r, -f, ft and f: documented, and lost in the tool of 6.7 and later."""
    text = record(pid=1, ts=5, free_ts=9) + record(pid=2, ts=5, free_ts=3) + record(pid=3, ts=5, free_ts=0)
    assert firsts(sort(tmp_path, "-r", text=text), r"pid (\d+),") == ["3", "2", "1"]
    assert firsts(sort(tmp_path, "--sort=-ft", text=text), r"pid (\d+),") == ["1", "2", "3"]
    assert firsts(sort(tmp_path, "-f", "-p", text=text), r"pid (\d+),") == ["2", "3"]
    assert (
        sort(tmp_path, "--cull=f", text=text)
        == b"2 times, 2 pages (UNRELEASED)\n1 times, 1 pages (RELEASED)\n"
    )


def test_allocators(tmp_path: Path) -> None:
    cma = record(pid=1).replace(b"Block 0 type Unmovable", b"Block 0 type CMA")
    flag = record(pid=2).replace(b"(node=0", b"(slab|node=0")
    line = record(pid=3, tail=b"Slab cache page\n")
    ours = record(pid=4).replace(b"\nPFN", b"\nSLAB_PAGE slab_name:dentry\nPFN")
    stack = record(pid=5, stack=SLAB_STACK)
    found = sort(tmp_path, "-p", text=cma + flag + line + ours + stack)
    assert firsts(found, r"allocated by (\w+) :") == ["CMA", "SLAB", "SLAB", "SLAB", "SLAB"]
    assert b"slab_name" not in found


def test_names_that_break_lines_are_names(tmp_path: Path) -> None:
    text = record(comm=b"a\n\nb") + record(comm=b"\nPFN 1 type Mov") + record(comm=b"\xff")
    found = sort(tmp_path, "--cull=n", "-n", text=text)
    assert found == (
        b"1 times, 1 pages, task_comm_name: \nPFN 1 type Mov\n1 times, 1 pages, task_comm_name: a\n\nb\n"
        b"1 times, 1 pages, task_comm_name: \xff\n"
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_text(tmp_path: Path, form: str) -> None:
    assert counts(sort(tmp_path, "--cull=st", text=FORMS[form] * 2)) == [(2, 2)]


@settings(max_examples=25)
@given(
    st.lists(fields, min_size=1, max_size=8),
    st.sampled_from(["-m", "-p", "-a", "--cull=st", "--cull=n,ator"]),
)
def test_all_records_are_in_one_group_each(records: list[dict[str, object]], option: str) -> None:
    from pageowner.ownertext.sort import sort_text
    from pageowner.ownertext.sort_options import LETTERS, SortOptions, parse_cull

    raw = b"".join(record(**one) for one in records)  # type: ignore[arg-type]
    if option.startswith("--cull="):
        options = SortOptions(cull=parse_cull(option.removeprefix("--cull=")))
    else:
        options = SortOptions(order=(LETTERS[option[1]],))
    frame = sort_text([raw], options).frame
    assert frame["times"].sum() == len(records)
    assert frame["pages"].sum() == sum(1 << int(str(one["order"])) for one in records)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-m", "-p"], "-m and -p are different orders"),
        (["--sort=x"], "argument --sort: 'x' is no key; the keys are p, pid, tg"),
        (["--cull=T"], "argument --cull: 'T' is no key"),
        (["--pid=a"], "argument --pid: 'a' is no list of numbers"),
    ],
)
def test_usage_errors(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sort", *options, "in", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_only_force_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").write_bytes(TEXT)
    line = ["sort", str(tmp_path / "in"), str(tmp_path / "out")]
    assert (main(line), main([*line, "-f"]), main([*line, "--force"])) == (0, 1, 0)
    assert "use --force" in capsys.readouterr().err


def test_a_text_without_records_leaves_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").write_bytes(b"nothing\n")
    assert main(["sort", str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    assert "has no page_owner records" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_cut_off_text_is_a_partial_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert counts(sort(tmp_path, text=TEXT[:-9], status=4)) == [(2, 2), (1, 1), (1, 8)]
    assert "cut off" in capsys.readouterr().err
