# SPDX-License-Identifier: LGPL-2.1-or-later
"""``map`` on the terminal, against /proc/pagetypeinfo and /proc/zoneinfo of the same moment."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from pageowner.commands import main
from pageowner.errors import PageownerError
from pageowner.reporters.map_text import MapOptions, write_map_text
from pageowner.snapshot.reading import read_everything
from pageowner.snapshot.tables import Snapshot
from pageowner.sources import SourceSelection
from tests.conftest import FIXTURES, Capture

Text = pytest.CaptureFixture[str]
V1 = Path(__file__).parents[1] / "snapshots" / "v1"
ZONE = r"^ node (\d+) (\w+) +0x[0-9a-f]+ +(\d+) +(\d+) +(\d+) +(\d+) *$"
TYPE = r"^ node (\d+) (\w+) +([A-Z]\w+) +(\d+) +(\d+) +(\d+) *$"


@pytest.fixture(scope="module")
def scanned(capture: Capture) -> Snapshot:
    return read_everything(SourceSelection("core", capture.core), by=["place"])


def drawn(snapshot: Snapshot, **options: object) -> str:
    out = io.BytesIO()
    write_map_text(snapshot, MapOptions(**options), out)  # type: ignore[arg-type]
    return out.getvalue().decode()


@pytest.fixture(scope="module")
def text(scanned: Snapshot) -> str:
    return drawn(scanned, width=100)


def test_blocks_of_each_zone_and_type_are_the_kernels(capture: Capture, text: str) -> None:
    ours = {m[:3]: int(m[3]) for m in re.findall(TYPE, text, re.MULTILINE) if int(m[3])}
    theirs: dict[tuple[str, ...], int] = {}
    names: list[str] = []
    for line in capture.text("pagetypeinfo.txt").splitlines():
        if line.startswith("Number of blocks type"):
            names = line.split()[4:]
        elif names and (found := re.match(r"Node (\d+), zone +(\w+) ([ \d]+)$", line)):
            counts = zip(names, found[3].split(), strict=True)
            theirs |= {(found[1], found[2], name): int(n) for name, n in counts if int(n)}
        else:
            names = []
    moved = sum(abs(ours.get(key, 0) - theirs.get(key, 0)) for key in ours.keys() | theirs.keys())
    assert len(theirs) >= 4 and sum(ours.values()) == sum(theirs.values())
    # The kernel ran on between its words and the dump: a block may have become another type's.
    assert ours == theirs if capture.dir.is_relative_to(FIXTURES) else moved <= 4


def test_zones_are_the_kernels(capture: Capture, text: str) -> None:
    ours = {m[:2]: list(map(int, m[2:])) for m in re.findall(ZONE, text, re.MULTILINE)}
    theirs = {}
    for part in re.split(r"^(?=Node )", capture.text("zoneinfo.txt"), flags=re.MULTILINE)[1:]:
        zone = re.match(r"Node (\d+), zone +(\w+)", part)
        assert zone is not None
        wanted = ("spanned", "present", "managed", "nr_free_pages")
        numbers = [re.search(rf"{name} +(\d+)", part) for name in wanted]
        values = [int(found[1]) if found else 0 for found in numbers]
        if values[1]:
            theirs[zone.groups()] = values
    assert {k: v[:3] for k, v in ours.items()} == {k: v[:3] for k, v in theirs.items()}
    for zone_name, values in ours.items():  # the kernel ran on between its words and the dump
        assert abs(values[3] - theirs[zone_name][3]) <= 0.02 * theirs[zone_name][3] + 64, zone_name


def test_types_sum_to_the_zone(text: str) -> None:
    zones = {m[:2]: int(m[5]) for m in re.findall(ZONE, text, re.MULTILINE)}
    sums = dict.fromkeys(zones, 0)
    for node, zone, _, _, free, _ in re.findall(TYPE, text, re.MULTILINE):
        sums[node, zone] += int(free)
    assert sums == zones


def test_lines_fit_and_every_cell_has_its_letter(text: str) -> None:
    picture = re.findall(r"^[pcskbB?.][pcskbB?. ]{40,}$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 100 and len(picture) >= 10
    assert all(len(line) == 100 for line in picture)
    assert "\x1b" not in text and ". free " in text and "s slab " in text


def test_color_is_half_blocks(scanned: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    colored = drawn(scanned, width=60, color=True)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", colored)
    assert "▀" in plain and "\x1b[38;2;" in colored
    assert all(len(line) <= 60 for line in plain.splitlines() if "▀" in line)


@pytest.mark.parametrize("by", ["mobility", "age", "process"])
def test_other_colors(scanned: Snapshot, by: str) -> None:
    if by == "age" and scanned.groupings["place"]["age"].drop_nulls().is_empty():
        pytest.skip("no record of this kernel says when")
    assert {"mobility": "M Movable ", "age": "1-10 s ", "process": "(w_thp) "}[by] in drawn(scanned, by=by)


def test_a_range_is_looked_at_closer(scanned: Snapshot) -> None:
    assert "node 0 DMA32 0x1000 - 0x11ff\n" in drawn(scanned, pfns=(0x1000, 0x11FF))
    with pytest.raises(PageownerError, match="none of these pages"):
        drawn(scanned, pfns=(1 << 40, 1 << 40))


def test_the_command_fits_the_terminal(capsys: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["map", "--demo", "--pfn", "0-0xfff"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("node 0 DMA32 0x0 - 0xfff\n") and "\x1b" not in told
    assert max(map(len, told.splitlines())) == 70


def test_a_text_has_no_map(capture: Capture, capsys: Text, tmp_path: Path) -> None:
    path = tmp_path / "page_owner.txt"
    path.write_bytes(capture.read("page_owner.txt"))
    assert main(["map", str(path)]) == 1
    assert "does not say where its pages are" in capsys.readouterr().err


def test_an_older_snapshot_says_what_it_lacks(capsys: Text) -> None:
    assert main(["map", str(V1)]) == 0
    assert ". free " in capsys.readouterr().out
    assert main(["map", "--by", "age", str(V1)]) == 1
    assert "record it anew" in capsys.readouterr().err
