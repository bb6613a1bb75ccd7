# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each command as it is called on a source: for tests that hold for all of them."""

from __future__ import annotations

from pageowner.commands import COMMANDS

# What a command wants beside a source.
_ARGUMENTS = {"explain": ["0x100"]}
COMMAND_LINES: list[list[str]] = [[name, *_ARGUMENTS.get(name, [])] for name in COMMANDS]
