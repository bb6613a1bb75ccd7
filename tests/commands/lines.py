# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each command as it is called on a source: for tests that hold for all of them."""

from __future__ import annotations

from pathlib import Path

from pageowner.commands import COMMANDS

SNAPSHOT = str(Path(__file__).parents[1] / "snapshots" / "v1")
_QUERY = "select word, sum(pages) from owners group by word"
# What a command wants beside a source.
_ARGUMENTS = {"explain": ["0x100"], "diff": [SNAPSHOT], "sql": [_QUERY], "export": ["-O", "folded"]}
# Those that do not turn a source into one output, tell of errors instead of ending with them, or want a
# terminal, have tests of their own.
_OTHERS = ("doctor", "record", "sort", "top")
COMMAND_LINES: list[list[str]] = [
    [name, *_ARGUMENTS.get(name, [])] for name in COMMANDS if name not in _OTHERS
]
