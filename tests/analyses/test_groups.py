# SPDX-License-Identifier: LGPL-2.1-or-later
"""Groupings: whatever pages are grouped by, they sum to the balance sheet."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pageowner.analyses.groups import DERIVED, grouped
from pageowner.commands import main
from pageowner.snapshot.store import load_snapshot
from pageowner.snapshot.tables import Snapshot
from tests.conftest import Capture
from tests.snapshots.make import snapshot

pytestmark = pytest.mark.two_kernels

WAYS = ("process", "cgroup", "node", "module", "mount", "age", "stack")
MADE = snapshot(
    [
        ("SLAB_PAGE", "dentry", "new_slab < open", 5),
        ("SLAB_PAGE", "inode", "new_slab < fill [drv] < open", 2),
        ("FREE_PAGE", "order 3", "", 8),
        ("FILE_PAGE", "a", "read", 1),
    ]
)


@pytest.fixture(scope="module")
def saved(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("groups") / "snap"
    assert main(["record", "-o", str(path), str(capture.core)]) == 0
    return path


@pytest.fixture(scope="module")
def whole(saved: Path) -> Snapshot:
    return load_snapshot(saved)


@pytest.mark.parametrize("rows", [1, 3, 10000])
@pytest.mark.parametrize("by", WAYS)
def test_all_pages_are_counted(by: str, rows: int, whole: Snapshot) -> None:
    found = grouped(whole, by, rows)
    shown = int(found.rows[found.measure].sum())
    assert found.rest_pages >= 0 and found.rows.height <= rows
    assert shown + found.hidden[found.measure] + found.rest_pages == found.total
    assert found.total == whole.owners["pages"].sum() == whole.pages["n"].sum()
    if by == "node":
        assert found.rest_pages == 0
    elif by in DERIVED:
        assert found.rest_pages >= whole.usage.filter(stack=0)["pages"].sum()


@pytest.mark.parametrize("by", WAYS)
def test_what_is_printed(by: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--by", by, "--json", "-n", "2", str(saved)]) == 0
    told = json.loads(capsys.readouterr().out)
    parts = [row[told["measure"]] for row in told["rows"]]
    assert sum(parts) + told["more"][told["measure"]] + told["rest"]["pages"] == told["total"]
    assert main(["summary", "--by", by, "-n", "2", str(saved)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^ total +", text, re.MULTILINE)
    assert (f"({told['more']['rows']} more rows)" in text) == bool(told["more"]["rows"])
    assert (told["rest"]["name"] in text) == bool(told["rest"]["pages"])


def test_by_stack() -> None:
    found = grouped(MADE, "stack", 1)
    assert found.rows.rows() == [("new_slab < open", 5, "SLAB_PAGE 5")]
    assert (found.more, found.hidden, found.rest_pages, found.total) == (2, {"pages": 3}, 8, 16)
    assert grouped(MADE, "module", 5).rows["module"].to_list() == ["kernel", "drv"]


@pytest.mark.parametrize("by", WAYS)
def test_of_a_part(
    by: str, capture: Capture, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a filter: of the source all of them, of a snapshot those that its tables can tell; the same."""
    told = []
    for source in (capture.core, saved):
        status = main(["summary", "--by", by, "--json", "--comm", "w_*", "-n", "1000", str(source)])
        out, err = capsys.readouterr()
        if source == saved and by in ("process", "mount"):
            assert status == 1 and "does not say this of a part of its pages" in err
            continue
        document = json.loads(out)
        told.append(document["rows"])
        pages = sum(row[document["measure"]] for row in document["rows"])
        assert 0 < pages + document["rest"]["pages"] == document["total"] < 98304 and pages > 0
    assert all(rows == told[0] for rows in told)
