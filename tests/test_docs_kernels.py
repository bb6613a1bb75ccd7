# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/kernels.md, lab/kernels.py and the fixtures speak of the same kernels."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lab import packages
from lab.capture import VARIANTS
from lab.kernels import FRAGMENT, KERNELS, Kernel, fragment_hash

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "kernels.md").read_text()
FIXTURES = sorted((ROOT / "tests" / "fixtures").glob("[0-9]*/provenance.json"))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without code marks, its own heading left out."""
    part = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_is_that_of_the_lab() -> None:
    ours = {k.version: [k.package, k.suite, " ".join(k.config)] for k in KERNELS.values()}
    assert {version: rest for version, *rest in rows("The lab's kernels")} == ours


def test_every_kernel_has_a_capture_a_fixture_and_figures() -> None:
    fixtures = {path.parent.name for path in FIXTURES}
    assert KERNELS.keys() <= VARIANTS.keys() and fixtures >= KERNELS.keys()
    assert {row[0] for row in rows("What equals the kernel's own word")} == set(KERNELS)


@pytest.mark.parametrize("path", FIXTURES, ids=[path.parent.name for path in FIXTURES])
def test_a_fixture_is_of_the_kernel_that_the_table_builds(path: Path) -> None:
    facts = json.loads(path.read_text())
    kernel = KERNELS[facts["kernel"]]
    assert facts["fragment"] == fragment_hash(kernel)
    assert facts["origin"].split()[0] == kernel.package
    assert sum(file.stat().st_size for file in path.parent.iterdir()) <= 6 << 20


def test_the_lines_of_one_kernel_are_part_of_its_key() -> None:
    plain, more = Kernel("1", "p"), Kernel("1", "p", "s", ("CONFIG_X=y",))
    assert plain.fragment == FRAGMENT.read_bytes()
    assert more.fragment == plain.fragment + b"CONFIG_X=y\n"
    assert fragment_hash(more) != fragment_hash(plain) == fragment_hash(Kernel("2", "q", "t"))


def test_a_suite_comes_from_the_machines_own_archive() -> None:
    targets = "http://one/security/|Debian-Security\nhttp://two/debian/|Debian\nhttp://three/|Debian\n"
    assert packages.mirror(targets) == "http://two/debian/"
    with pytest.raises(SystemExit, match="none of this machine's apt sources"):
        packages.mirror("http://one/ubuntu/|Ubuntu\n")


def test_every_kernel_names_its_suite() -> None:
    assert all(re.fullmatch(r"[a-z]+(-backports)?", kernel.suite) for kernel in KERNELS.values())
