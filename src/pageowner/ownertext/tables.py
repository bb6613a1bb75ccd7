# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the numbers of records stand for: one text per unique stack, gfp mask and memcg word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.gfp import Gfp, read_gfp
from pageowner.kernel.memcg import Memcgs
from pageowner.kernel.migratetype import MigrateTypes, read_migrate_types
from pageowner.kernel.page_flags import PageFlags, read_page_flags
from pageowner.kernel.stackdepot import StackDepot, Stacks
from pageowner.kernel.target import Kernel
from pageowner.ownertext.formats import TextShape, text_shape
from pageowner.rawtext import carry

STACK_SCHEMA = {"handle": pl.UInt32, "frames": pl.String}
MEMCG_SCHEMA = {"memcg_data": pl.UInt64, "memcg": pl.String}


@dataclass(frozen=True)
class TextTables:
    """All that :func:`pageowner.ownertext.write.kernel_text` needs beside the records themselves.

    ``stacks``: handle (UInt32) to ``frames``, its lines as printed, each with its leading space and newline;
    ``memcgs``: memcg_data word (UInt64) to ``memcg``, its line without newline; both unique in their key.
    ``block_order``: log2 of the pages in a pageblock.
    """

    shape: TextShape
    gfp: Gfp
    flags: PageFlags
    types: MigrateTypes
    block_order: int
    stacks: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=STACK_SCHEMA))
    memcgs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MEMCG_SCHEMA))


class Texts:
    """Text tables of a kernel that grow with the records: each stack and memcg word is resolved once."""

    def __init__(self, kernel: Kernel, block_order: int) -> None:
        self._symbolize: Callable[[npt.NDArray[np.uint64]], list[str]] = kernel.symbols.symbolize
        self._depot = StackDepot(kernel)
        self._memcgs = _memcgs(kernel)
        self._tables = TextTables(
            shape=text_shape(kernel),
            gfp=read_gfp(kernel),
            flags=read_page_flags(kernel),
            types=read_migrate_types(kernel),
            block_order=block_order,
        )
        self.bad_handles = 0
        """Handles met so far that the stack depot does not know."""
        self.lost_charges = 0
        """memcg_data words met so far that lead to no memory cgroup."""

    def tables(self, frame: pl.DataFrame, handle: str = "handle") -> TextTables:
        """Tables that serve every row of *frame* (columns *handle* and, if there, ``memcg_data``)."""
        known = self._tables
        stacks, memcgs = self._new_stacks(frame[handle]), None
        if "memcg_data" in frame.columns and known.shape.memcg:
            memcgs = self._new_memcgs(frame["memcg_data"])
        if stacks is not None:
            self._tables = replace(self._tables, stacks=pl.concat([known.stacks, stacks], rechunk=True))
        if memcgs is not None:
            self._tables = replace(self._tables, memcgs=pl.concat([known.memcgs, memcgs], rechunk=True))
        return self._tables

    def _new_stacks(self, handles: pl.Series) -> pl.DataFrame | None:
        unique = handles.drop_nulls().cast(pl.UInt32).unique()
        new = unique.filter(~unique.is_in(self._tables.stacks["handle"].implode())).to_numpy()
        if not len(new):
            return None
        stacks = self._depot.stacks(new)
        self.bad_handles += int((~stacks.ok).sum())
        return stack_texts(stacks, self._symbolize)

    def _new_memcgs(self, words: pl.Series) -> pl.DataFrame | None:
        unique = words.drop_nulls().unique()
        known = unique.is_in(self._tables.memcgs["memcg_data"].implode())
        new = unique.filter((unique != 0) & ~known).to_numpy()
        if self._memcgs is None or not len(new):
            return None
        charges = self._memcgs.charges(new)
        self.lost_charges += charges.lost
        lines = [carry(line) for line in self._memcgs.lines(charges)]
        return pl.DataFrame({"memcg_data": charges.word, "memcg": lines}, schema=MEMCG_SCHEMA)


def stack_texts(stacks: Stacks, symbolize: Callable[[npt.NDArray[np.uint64]], list[str]]) -> pl.DataFrame:
    """The stack lines of each handle, as ``stack_depot_snprint()`` prints them.

    A handle that the depot does not know gets one line that says so, where the kernel would print none.
    """
    unique, inverse = np.unique(stacks.frames, return_inverse=True)
    lines = [f" {text}\n" for text in symbolize(unique)]
    which = inverse.tolist()
    bounds = stacks.start.tolist()
    texts = [
        "".join(lines[i] for i in which[start:end]) if ok else f" (bad stack handle 0x{handle:x})\n"
        for handle, ok, start, end in zip(
            stacks.handle.tolist(), stacks.ok.tolist(), bounds[:-1], bounds[1:], strict=True
        )
    ]
    return pl.DataFrame({"handle": stacks.handle, "frames": texts}, schema=STACK_SCHEMA)


def _memcgs(kernel: Kernel) -> Memcgs | None:
    try:
        return Memcgs(kernel)
    except LookupError:
        return None
