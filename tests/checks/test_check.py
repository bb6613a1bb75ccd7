# SPDX-License-Identifier: LGPL-2.1-or-later
"""``check`` is silent on healthy kernels, and finds each corruption that is planted: it, and nothing else."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pageowner.commands import main
from pageowner.kernel.page_owner import PageOwner
from pageowner.kernel.sections import Section
from pageowner.kernel.target import Kernel
from pageowner.reporters.explain_text import write_explain_text
from pageowner.snapshot.checks.run import CheckRun
from pageowner.snapshot.explain import explain
from pageowner.snapshot.scan import open_scan
from pageowner.snapshot.stability import Stability
from pageowner.sources import open_source
from pageowner.sources.selection import SourceSelection
from tests.checks.corruptions import CORRUPTIONS, OF_RECORDS, Guest
from tests.conftest import Capture
from tests.plant import Planter

DOCUMENT = Path(__file__).parents[2] / "docs" / "check.md"


def test_a_healthy_kernel_is_silent(core_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(core_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "finding" not in captured.err


def fresh(kernel: Kernel) -> Kernel:
    """The same kernel with nothing remembered of its memory."""
    return Kernel(kernel.prog, kernel.symbols, kernel.vmcoreinfo)


def found_in(kernel: Kernel) -> dict[tuple[str, int], str]:
    run = CheckRun(open_scan(fresh(kernel)), None)
    return {(finding.check, finding.pfn): finding.text for finding in run.findings()}


@pytest.fixture(scope="module")
def corrupt(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Guest]:
    """A copy of the core with all corruptions in it, each in other pages; and where they are."""
    copy = tmp_path_factory.mktemp("corrupt") / "core"
    shutil.copyfile(capture.core, copy)
    copy.chmod(0o600)
    kernel = open_source(SourceSelection("core", path=copy))
    assert found_in(kernel) == {}
    planter = Planter(copy, kernel)
    guest = Guest(kernel, planter)
    for corruption in CORRUPTIONS:
        if isinstance(guest.scan.page_owner, PageOwner) or corruption not in OF_RECORDS:
            corruption(guest)
    planter.close()
    return copy, guest


def test_each_corruption_is_found_and_nothing_else(corrupt: tuple[Path, Guest]) -> None:
    path, guest = corrupt
    assert len(guest.expected) >= 10
    found = found_in(open_source(SourceSelection("core", path=path)))
    assert set(found) == guest.expected
    assert all("PFN" not in text.split(" ")[0] and "\n" not in text for text in found.values())


def test_lines_counts_and_status(corrupt: tuple[Path, Guest], capsys: pytest.CaptureFixture[str]) -> None:
    path, guest = corrupt
    assert main(["check", "-n", "1", str(path)]) == 3
    captured = capsys.readouterr()
    checks = [line.split(":")[0] for line in captured.out.splitlines()]
    assert sorted(checks) == sorted({check for check, _ in guest.expected})
    assert captured.err.splitlines()[-1].startswith(f"pageowner: {len(guest.expected)} findings: ")
    assert captured.err.rstrip().endswith("; -n shows more")


def test_of_a_running_kernel_it_is_said_so(
    corrupt: tuple[Path, Guest], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """(A core whose kernel says that it is running: what the tests cannot have is a corrupt live kernel.)"""
    opened = open_source(SourceSelection("core", path=corrupt[0]))
    opened.live = True
    monkeypatch.setattr("pageowner.sources.open_source", lambda _: opened)
    assert main(["check", str(corrupt[0])]) == 3
    line = "pageowner: memory changed while it was read: believe what a second run finds again"
    assert capsys.readouterr().err.splitlines()[-1] == line


def test_pages_that_changed_meanwhile_are_left_out(
    corrupt: tuple[Path, Guest], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, guest = corrupt
    pages = sorted({pfn for _, pfn in guest.expected if pfn >= 0})

    def changed(self: Stability, section: Section, rows: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
        return np.isin(section.start + np.arange(len(rows)), pages[::2])

    monkeypatch.setattr(Stability, "changed", changed)
    opened = open_source(SourceSelection("core", path=path))
    opened.live = True
    run = CheckRun(open_scan(opened), None)
    found = {(finding.check, finding.pfn) for finding in run.findings()}
    assert found == {(check, pfn) for check, pfn in guest.expected if pfn not in pages[::2]}


def test_json(corrupt: tuple[Path, Guest], capsys: pytest.CaptureFixture[str]) -> None:
    path, guest = corrupt
    assert main(["check", "--json", str(path)]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "pageowner.check/1"
    told = {(row["check"], -1 if row["pfn"] is None else row["pfn"]) for row in document["findings"]}
    assert told == guest.expected
    assert sum(document["counts"].values()) == len(guest.expected)


def test_corrupt_pages_can_be_explained(corrupt: tuple[Path, Guest]) -> None:
    path, guest = corrupt
    scan = open_scan(open_source(SourceSelection("core", path=path)))
    for check, pfn in sorted(guest.expected):
        if pfn >= 0:
            out = io.BytesIO()
            write_explain_text(explain(scan, pfn, 4), out)
            text = out.getvalue().decode()
            assert text.startswith(f"PFN 0x{pfn:x} (")
            assert check != "refcount" or "is too small" in text
            assert check != "stale-claim" or "stale claim" in text


def test_every_check_is_documented(corrupt: tuple[Path, Guest]) -> None:
    text = DOCUMENT.read_text()
    for check, _ in corrupt[1].expected:
        assert f"`{check}`" in text
