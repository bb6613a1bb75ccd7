# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/layers.md shows the example as it is, and names only what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pageowner.layers
from pageowner.kernel.target import Kernel

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "layers.md").read_text()


def test_the_example_is_the_file() -> None:
    shown = re.search(r"```python\n(.*?)```", TEXT, re.S)[1]
    assert (ROOT / "examples" / "brd_layer.py").read_text().endswith(shown)
    assert len([line for line in shown.splitlines() if line.strip()]) <= 24


def test_helpers_and_methods_exist() -> None:
    table = TEXT[TEXT.index("## Reading the kernel") :]
    methods = set(re.findall(r"`kernel\.(\w+)\(", table))
    assert len(methods) >= 8 and all(hasattr(Kernel, name) for name in methods)
    helpers = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", table)) - {"brd_pages"}
    named = {n for n in helpers if n.endswith(("entries", "structs", "words", "arrays", "pfns", "_of"))}
    assert len(named) >= 8 and named <= set(pageowner.layers.__all__)
