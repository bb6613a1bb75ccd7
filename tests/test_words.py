"""The table of words is that of the layers."""

from __future__ import annotations

import re
from pathlib import Path

from pageowner.layers.registry import layer_classes

WORDS = Path(__file__).parents[1] / "docs" / "words.md"


def test_the_table_of_words_is_that_of_the_layers() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| `(.+)` \|$", WORDS.read_text(), re.M)
    assert rows == sorted((cls.word, cls.line) for cls in layer_classes())
