# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a command that read a source ends: its remarks on standard error, its exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pageowner.escape import one_line

PARTIAL = 4


def finish(remarks: Iterable[str], partial: bool) -> int:
    """Print *remarks* on standard error; 0, or 4 for a partial result."""
    for remark in remarks:
        print(f"pageowner: {one_line(remark)}", file=sys.stderr)
    return PARTIAL if partial else 0
