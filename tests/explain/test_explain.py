# SPDX-License-Identifier: LGPL-2.1-or-later
"""``explain`` says of a page what a scan of all memory says, and what the kernel's own words say."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pageowner.commands import main
from pageowner.kernel.target import Kernel
from pageowner.reporters.explain_json import write_explain_json
from pageowner.reporters.explain_text import write_explain_text
from pageowner.snapshot.explain import explain
from pageowner.snapshot.one_page import scan_page
from pageowner.snapshot.page_address import NoPageError, find_page
from pageowner.snapshot.page_name import parse_page
from pageowner.snapshot.report import Selection, report_tables
from pageowner.snapshot.scan import Scan, SectionScan, open_scan
from pageowner.sources import open_source
from pageowner.sources.selection import SourceSelection
from tests.conftest import Capture

PRESENT, FRAME = 1 << 63, (1 << 55) - 1


@cache
def kernel_of(path: Path) -> Kernel:
    return open_source(SourceSelection("core", path=path))


@cache
def bulk_of(path: Path) -> tuple[Scan, list[SectionScan]]:
    scan = open_scan(kernel_of(path))
    return scan, list(scan.run())


@cache
def single_of(path: Path) -> Scan:
    """A scan that knows nothing of the other one: each page's mappings are looked up for themselves."""
    kernel = kernel_of(path)
    return open_scan(Kernel(kernel.prog, kernel.symbols, kernel.vmcoreinfo))


def owner_in_bulk(path: Path, pfn: int) -> tuple[str, str] | None:
    """(word, owner) of a page by the scan of all memory; None without a struct page."""
    scan, sections = bulk_of(path)
    for section in sections:
        at = pfn - section.pages.section.start
        if 0 <= at < section.pages.section.n and section.pages.valid[at]:
            run = scan.by_number(int(section.layer[at]))
            return run.word, str(run.owners.frame["owner"][int(section.owner_rows()[at])])
    return None


def owner_alone(path: Path, pfn: int) -> tuple[str, str] | None:
    scan = single_of(path)
    try:
        page = scan_page(scan, pfn)
    except NoPageError:
        return None
    run = scan.by_number(page.number)
    return run.word, str(run.owners.frame["owner"][int(page.scan.owner_rows()[page.at])])


@settings(max_examples=40)
@given(data=st.data())
def test_one_page_and_all_pages_agree(core_path: Path, data: st.DataObject) -> None:
    last = bulk_of(core_path)[1][-1].pages.section
    pfn = data.draw(st.integers(0, last.start + last.n + 10))
    assert owner_alone(core_path, pfn) == owner_in_bulk(core_path, pfn)


def test_a_page_of_every_owner_agrees(core_path: Path) -> None:
    """First and last page of what each layer owns in a section: every kind is met, however rare."""
    scan, sections = bulk_of(core_path)
    compared: dict[str, set[int]] = {}
    for section in sections:
        for number in np.unique(section.layer[section.pages.valid]).tolist():
            mine = np.flatnonzero(section.layer == number) + section.pages.section.start
            compared.setdefault(scan.by_number(number).word, set()).update(mine[[0, -1]].tolist())
    assert len(compared) >= 15
    for word, pfns in compared.items():
        for pfn in sorted(pfns)[:4]:
            found = owner_alone(core_path, pfn)
            assert found == owner_in_bulk(core_path, pfn), hex(pfn)
            assert found is not None and found[0] == word


def test_the_line_is_the_reports(core_path: Path) -> None:
    """Of every 200th record of a section: what ``report`` says, to the letter."""
    scan = single_of(core_path)
    compared = 0
    for table in report_tables(bulk_of(core_path)[0], Selection()):
        for pfn, line in table.select("pfn", "owner").gather_every(200).iter_rows():
            assert explain(scan, pfn, 0).owner.line + "\n" == line, hex(pfn)
            compared += 1
    assert compared > 20


def explained(core_path: Path, page: str) -> dict[str, Any]:
    """What ``explain --json`` prints, without opening the core anew."""
    scan, out = single_of(core_path), io.BytesIO()
    pfn = find_page(scan.kernel, scan.sections, parse_page(page))
    write_explain_json(explain(scan, pfn, 32), out)
    document: dict[str, Any] = json.loads(out.getvalue())
    assert document["schema"] == "pageowner.explain/1"
    return document


def truth(capture: Capture, *parts: str) -> list[dict[str, str]]:
    """The ground-truth lines that have all of *parts*, as words."""
    lines = [line for line in capture.text("truth.txt").splitlines() if line.startswith("TRUTH ")]
    return [
        dict(word.split("=", 1) for word in line.split()[1:])
        for line in lines
        if all(part in line for part in parts)
    ]


def entries(capture: Capture) -> np.ndarray[Any, Any]:
    """The kernel's own pagemap of processes that stand still."""
    dtype = [("tgid", "<u8"), ("va", "<u8"), ("entry", "<u8")]
    rows = np.frombuffer(capture.read("pagemap.bin"), dtype)
    return rows[(rows["entry"] & np.uint64(PRESENT)) != 0]


def workload(capture: Capture) -> dict[int, str]:
    """tgid and name of the processes that the ground truth is about."""
    rows = truth(capture, " pid=", " comm=")
    return {int(words["pid"]): words["comm"] for words in rows if "busy" not in words}


def test_a_user_address_leads_where_the_kernel_says(capture: Capture) -> None:
    """Of the first process with a heap: the page, its memory area and its process."""
    maps = capture.text("proc.txt")
    rows = entries(capture)
    names = workload(capture)
    pid = next(p for p in sorted(names) if f"==> /proc/{p}/maps <==" in maps and (rows["tgid"] == p).any())
    text = maps.split(f"==> /proc/{pid}/maps <==\n")[1].split("==>")[0]
    for line in text.splitlines()[:4]:
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        inside = rows[(rows["tgid"] == pid) & (rows["va"] >= start) & (rows["va"] < end)]
        if not len(inside):
            continue
        va, pfn = int(inside[0]["va"]), int(inside[0]["entry"]) & FRAME
        found = explained(capture.core, f"{pid}:0x{va + 5:x}")
        assert found["pfn"] == pfn
        place = next(p for p in found["places"]["rows"] if p["pid"] == pid and p["address"] == va)
        words = line.split(maxsplit=5)
        assert place["permissions"] == words[1]
        assert place["name"] == (words[5] if len(words) > 5 else "")


def test_mappings_and_references_of_shared_pages(capture: Capture) -> None:
    """kpagecount is the kernel's own count of mappings; we never account for more than the refcount."""
    counts = np.frombuffer(capture.read("kpagecount.bin"), np.uint64)
    flags = np.frombuffer(capture.read("kpageflags.bin"), np.uint64)
    small = (
        flags & np.uint64(1 << 15 | 1 << 16 | 1 << 17 | 1 << 22 | 1 << 24)
    ) == 0  # no compound, huge or zero
    lru = (flags & np.uint64(1 << 5)) != 0  # zsmalloc of 6.1 keeps something else in _mapcount
    shared = np.flatnonzero((counts > 2) & (counts < 40) & small & lru)
    assert len(shared)
    for pfn in shared[:: max(len(shared) // 8, 1)].tolist():
        found = explained(capture.core, str(pfn))
        assert found["places"]["count"] == counts[pfn]
        assert found["refs"]["mapcount"] == counts[pfn]
        assert found["refs"]["unknown"] >= 0


def test_all_forms_lead_to_the_same_page(core_path: Path) -> None:
    kernel = kernel_of(core_path)
    text = kernel.symbols.lookup("_stext")
    found = explained(core_path, f"virt:0x{text:x}")
    assert found["owner"]["word"] == "KERNEL_IMAGE_PAGE"
    pfn = found["pfn"]
    direct = kernel.page_offset + (pfn << 12) + 0xFFF
    names = [
        hex(pfn),
        str(pfn),
        f"phys:{(pfn << 12) + 7}",
        f"page:0x{found['page'] + 8:x}",
        f"virt:0x{direct:x}",
    ]
    for name in names:
        assert explained(core_path, name) == found


def test_a_vmalloc_address(core_path: Path) -> None:
    """The memmap is mapped by page tables of the kernel, not by arithmetic."""
    scan = single_of(core_path)
    address = int(scan.sections.page_address(np.array([0x1000]))[0])
    assert explained(core_path, f"virt:0x{address:x}")["owner"]["word"] == "MEMMAP_PAGE"


def test_the_record_is_the_kernels(capture: Capture) -> None:
    """Order, gfp, pid, name and stack against the kernel's own page_owner text."""
    blocks = [b for b in capture.text("page_owner.txt").split("\n\n") if "w_file" in b and "\nPFN " in b]
    for block in blocks[:: max(len(blocks) // 4, 1)]:
        header, pfn_line, *frames = block.splitlines()
        pfn = int(pfn_line.split()[1], 0)
        record = explained(capture.core, str(pfn))["record"]
        frames = [frame.strip() for frame in frames if frame.startswith(" ")]
        assert record["allocation"]["stack"] == frames
        assert (
            f"via order {record['order']}, mask {record['gfp']}, pid {record['allocation']['pid']}," in header
        )
        assert f"({record['allocation']['comm']}), ts {record['allocation']['ts']} ns" in header


def test_a_file_tells_its_path(capture: Capture) -> None:
    words = truth(capture, " path=/disk/", " pfn=0x")[0]
    found = explained(capture.core, words["pfn"])
    assert found["owner"]["word"] == "FILE_PAGE"
    (text,) = [row["text"] for row in found["details"] if row["title"] == "file"]
    assert text.startswith(f"{words['path']} on ")


def test_a_slab_tells_its_objects(capture: Capture) -> None:
    """Objects and their size, against slabinfo of that cache."""
    info = {line.split()[0]: line.split() for line in capture.text("slabinfo.txt").splitlines()[2:]}
    scan, sections = bulk_of(capture.core)
    slab = next(run for run in scan.runs if run.word == "SLAB_PAGE")
    checked = 0
    for name in ("task_struct", "dentry", "vm_area_struct", "anon_vma"):
        rows = np.flatnonzero(slab.owners.frame["owner"].to_numpy() == name)
        for section in sections:
            mine = np.flatnonzero((section.layer == slab.number) & np.isin(section.owner_rows(), rows))
            if name not in info or not len(mine):
                continue
            found = explained(capture.core, str(int(mine[-1]) + section.pages.section.start))
            text = {row["title"]: row["text"] for row in found["details"]}["objects"]
            assert text.startswith(f"{info[name][4]} of {info[name][3]} bytes from ")
            assert "broken" not in text
            checked += 1
            break
    assert checked >= 3


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("0x7ffffffff", "PFN 0x7ffffffff has no struct page: no memory section of this kernel holds it"),
        ("virt:0x1000", "0x1000 is no kernel address; write PID:0x1000 for a process's"),
        ("virt:0xffffffffffff0000", "0xffffffffffff0000: nothing is mapped there"),
        ("4000000:0x1000", "there is no process 4000000"),
        ("2:0x1000", "pid 2 (kthreadd) has no address space"),
        ("1:0x10", "address 0x10 of pid 1: nothing is mapped there"),
        ("1:0xffff800000000000", "address 0xffff800000000000 of pid 1 is beyond user space; write"
                                 " virt:0xffff800000000000 for a kernel address"),
    ],
)  # fmt: skip
def test_what_leads_to_no_page(
    core_path: Path, page: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", page, str(core_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"pageowner: error: {line}\n"


def test_no_struct_page_address(core_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "page:0x1234", str(core_path)]) == 1
    assert capsys.readouterr().err.startswith("pageowner: error: 0x1234 is no struct page: those lie in 0xff")


def test_a_swapped_address(capture: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    words = truth(capture, " swap=", " va=", " pid=")[0]
    area, slot = words["swap"].split(":")
    assert main(["explain", f"{words['pid']}:{words['va']}", str(capture.core)]) == 1
    line = f"is swapped out, to slot {int(slot, 0)} of swap area {int(area, 0)}"
    assert line in capsys.readouterr().err


def test_text_fits_a_terminal(capture: Capture) -> None:
    """80 columns but for what cannot be cut, and no raw byte of a name."""
    for words in truth(capture, " pfn=0x")[::25]:
        out = io.BytesIO()
        write_explain_text(explain(single_of(capture.core), int(words["pfn"], 0), 32), out)
        text = out.getvalue().decode()
        assert text.startswith(f"PFN {words['pfn']} (")
        assert all(len(row) <= 80 or " " not in row[14:80].strip() for row in text.splitlines())
        assert all(c == "\n" or c.isprintable() for c in text)


def test_mappings_are_limited(capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zero page: told how often it is mapped, with as many addresses as asked for."""
    scan, out = single_of(capture.core), io.BytesIO()
    pfn = next(int(words["pfn"], 0) for words in truth(capture, "kind=zero", " pfn=0x"))
    found = explain(scan, pfn, 2)
    assert len(found.places.rows) == 2 < found.places.count
    assert all(place.special for place in found.places.rows)
    write_explain_text(found, out)
    more = found.places.count - 2
    assert f"\n  … and {more} more (-n shows more)\n" in out.getvalue().decode()
    monkeypatch.setattr("pageowner.snapshot.explain_mapped.MOST", 2)
    assert explain(scan, pfn, 2).places.rows == []


def test_the_command(core_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "0x1000", str(core_path)]) == 0
    text = capsys.readouterr().out
    assert main(["explain", "--json", "phys:0x1000fff", str(core_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == explained(core_path, "0x1000")
    wrapped = text.split("\n\n")[0].splitlines()[1:]
    assert " ".join(row.strip() for row in wrapped) == found["owner"]["line"]
