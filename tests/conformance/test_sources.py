# SPDX-License-Identifier: LGPL-2.1-or-later
"""The conformance suite: the same tests for every source, with and without debug information, per kernel.

What is compared with is the ELF core of the same stopped guest. A live guest is stopped after it was asked:
there, what nobody touches in an idle machine is compared.

    pytest -m lab tests/conformance -k '6.12 and btf'
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.answers import EXPLAINED, REPORT, SUMMARY, last_of_kinds
from tests.conformance.cells import CELLS, MARKED, Cell
from tests.conformance.worlds import World

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64"),
    pytest.mark.parametrize("cell", CELLS, ids=str),
]
# Kinds of which an idle guest has the same pages before and after we were there.
LASTING = ("KERNEL_IMAGE_PAGE", "MEMMAP_PAGE", "PAGE_EXT_PAGE", "RESERVED_PAGE", "ZERO_PAGE")
# What doctor says of these sources, and of no others.
SAID = {
    "live": "/proc/kcore is there",
    "qmp-bare": "the guest has no vmcoreinfo device",
    "elf-bare": "VMCOREINFO is not in its notes",
    "filtered": "pages are excluded from the dump",
}
SLEEPER = re.compile(r"(?:MAPPED )?(?P<who>pid \d+ \(sleep\)).*")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """The guests, one kernel's at a time."""
    found: dict[str, World] = {}
    yield found
    for world in found.values():
        world.close()


@pytest.fixture
def world(cell: Cell, worlds: dict[str, World], tmp_path_factory: pytest.TempPathFactory) -> World:
    if cell.version not in worlds:
        for other in list(worlds.values()):
            other.close()
            shutil.rmtree(other.folder)
        worlds.clear()
        worlds[cell.version] = World(cell.version, tmp_path_factory.mktemp(f"world-{cell.version}"))
    return worlds[cell.version]


@pytest.fixture
def answers(cell: Cell, world: World) -> dict[str, list[Any]]:
    if cell in MARKED:
        command, limit = MARKED[cell]
        status = world.answers(cell)[command][0]
        assert status != 0, f"{command} works by now: take {cell} out of MARKED ({limit})"
        pytest.xfail(limit)
    return world.answers(cell)


@pytest.fixture
def reference(cell: Cell, world: World) -> dict[str, list[Any]]:
    return world.reference(cell)


def text(answers: dict[str, list[Any]], command: tuple[str, ...] | str) -> str:
    """What a command printed; it must have ended well."""
    name = command if isinstance(command, str) else " ".join(command)
    status, out, err = answers[name]
    assert status == 0, f"{name}: {err}"
    assert "Traceback" not in err
    return str(out)


def test_the_balance_is_the_cores(cell: Cell, answers: dict[str, Any], reference: dict[str, Any]) -> None:
    mine, theirs = (json.loads(text(each, SUMMARY)) for each in (answers, reference))
    assert len(theirs["top"]) > 100 and theirs["coverage"]["scanned"] >= 1 << 16
    if cell.source == "live":
        slept = sleepers(text(answers, REPORT))
        mine, theirs = lasting(mine, slept), lasting(theirs, slept)
        assert len(slept) >= 2 and len(theirs) >= 5
    else:
        for each in (mine, theirs):
            each["top"].sort(key=lambda row: (row["word"], row["owner"]))
    assert mine == theirs


def sleepers(report: str) -> set[str]:
    """``pid 42 (sleep)``, of those that are there when a live guest is asked: its init ends with another."""
    return {match["who"] for match in SLEEPER.finditer(report)}


def lasting(document: dict[str, Any], slept: set[str]) -> list[tuple[str, str, int]]:
    rows = [(row["word"], row["owner"], row["pages"]) for row in document["top"]]
    return sorted(row for row in rows if row[0] in LASTING or sleepers(row[1]) & slept)


def test_the_report_is_the_cores(cell: Cell, answers: dict[str, Any], reference: dict[str, Any]) -> None:
    mine, theirs = text(answers, REPORT), text(reference, REPORT)
    if cell.source == "live":
        # The processes that sleep since before: the same pages at the same addresses.
        slept = sleepers(mine)
        mine, theirs = (lines_of(slept, each) for each in (mine, theirs))
    assert theirs.count("MAPPED ") > 50
    assert mine == theirs


def lines_of(slept: set[str], report: str) -> str:
    return "\n".join(sorted(match[0] for match in SLEEPER.finditer(report) if match["who"] in slept))


@pytest.mark.parametrize("word", EXPLAINED)
def test_explain_agrees(cell: Cell, answers: dict[str, Any], reference: dict[str, Any], word: str) -> None:
    said = text(answers, f"explain {word}")
    if cell.source == "live":
        pfn, line = last_of_kinds(text(answers, REPORT))[word]
        assert f"PFN 0x{pfn:x} " in said
        # Meanwhile the page may have gone, be it on its way to a free list, but not to another kind in an
        # idle guest.
        assert line.split()[0] in said or "FREE_PAGE" in said or "\nUNOWNED_PAGE refcount:0\n" in said
    else:
        assert said == text(reference, f"explain {word}")


def test_check_is_silent(answers: dict[str, Any]) -> None:
    assert text(answers, "check") == ""


def test_doctor_knows_it(cell: Cell, answers: dict[str, Any]) -> None:
    document = json.loads(text(answers, "doctor --json"))
    said = [finding["what"] for finding in document["findings"]]
    assert [finding for finding in document["findings"] if finding["state"] != "ok"] == []
    assert any(f"a kernel {cell.version}." in line and "that can be read" in line for line in said)
    for source, word in SAID.items():
        assert any(word in line for line in said) == (cell.source.startswith(source)), (source, said)
