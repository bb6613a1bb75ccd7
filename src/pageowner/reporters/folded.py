# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folded stacks, as flamegraph.pl, inferno and speedscope take them: ``outermost;…;innermost bytes``."""

from __future__ import annotations

from typing import BinaryIO

import polars as pl

from pageowner.analyses.flame import by_stack
from pageowner.analyses.kinds import PAGE_BYTES
from pageowner.escape import one_line


def write_folded(weighted: pl.DataFrame, out: BinaryIO) -> None:
    """A line per stack of *weighted* (:func:`pageowner.analyses.flame.weighted_stacks`), most bytes first."""
    for functions, pages in by_stack(weighted).iter_rows():
        frames = ";".join(one_line(name).replace(";", "\\073") for name in reversed(functions))
        out.write(f"{frames} {pages * PAGE_BYTES}\n".encode("utf-8", "backslashreplace"))
