# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes and what they map: tasks, address spaces and inverted page tables, read once per kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.mapped_at import Lowest, lowest, mapped
from pageowner.kernel.mapping import Mappings, expand
from pageowner.kernel.mm import NO_TASK, Mms, read_mms
from pageowner.kernel.pagetable.invert import Counts, invert
from pageowner.kernel.pagetable.tables import TablePages
from pageowner.kernel.pagetable.unwalked import unwalked_tables
from pageowner.kernel.pagetable.x86_64 import x86_64
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.kernel.task import Tasks, read_tasks
from pageowner.ownertext.hextext import hex_text

I64 = npt.NDArray[np.int64]
_AT_ONCE = 4096  # blocks per batch when all their mappings are listed
_FOREVER = np.iinfo(np.uint64).max
_CLOSE = 4


@dataclass(frozen=True)
class ProcessMemory:
    """``mms`` are ordered by their lowest tgid; ``mappings`` and ``tables`` number them by that order."""

    tasks: Tasks
    mms: Mms
    mappings: Mappings
    tables: TablePages
    counts: Counts

    def name(self, mm: int) -> str:
        """``pid 98 (a.out)`` of the process with the lowest pid, safe to print; ``mm:0x…`` without one."""
        tgid = int(self.mms.lowest_tgid[mm])
        if tgid == NO_TASK:
            return f"pid -1 (mm:0x{int(self.mms.address[mm]):x})"
        return f"pid {tgid} ({self._comm_of.get(tgid, '')})"

    @cached_property
    def _comm_of(self) -> dict[int, str]:
        leaders = self.tasks.leaders
        names = self.tasks.comm
        return {int(self.tasks.rows["tgid"][row]): escape(names[row], "()") for row in leaders.tolist()}

    def lowest(self, pfn: I64, n: I64, tgid: I64 | None, ts: npt.NDArray[np.uint64] | None) -> Lowest:
        """Where each block is mapped, for its owner line: :func:`pageowner.kernel.mapped_at.lowest`.

        Without a record (*tgid* None) nobody counts as the allocating process.
        """
        if tgid is None:
            tgid = np.full(len(pfn), -1, np.int64)
        if ts is None:
            ts = np.full(len(pfn), _FOREVER, np.uint64)
        return lowest(self.mappings, self.mms, pfn, n, tgid.astype(np.int64), ts.astype(np.uint64))

    def first_mm(self, pfn: I64, n: I64) -> I64:
        """Number of the mm with the lowest tgid that maps any page of each block; -1 for none."""
        if len(pfn) and (n == 1).all():
            quick = self._first_of_pages(pfn)
            if quick is not None:
                return quick
        found = self.mappings.of_blocks(pfn, n)
        out = np.full(len(pfn), len(self.mms), np.int64)
        np.minimum.at(out, found.block, found.mm)
        return np.where(out == len(self.mms), -1, out)

    def _first_of_pages(self, pfn: I64) -> I64 | None:
        """:meth:`first_mm` of single pages that lie close together: a few long runs are spread over them all.

        None where that would be more work than to look for each page.
        """
        start, size = int(pfn.min()), int(pfn.max() - pfn.min()) + 1
        if size > _CLOSE * len(pfn):
            return None
        near, block = self.mappings.part(start, start + size), (np.array([start]), np.array([size]))
        # Shared by many processes: before so many rows are made.
        if int(near.candidates(*block)[0]) > _CLOSE * size:
            return None
        runs = near.of_blocks(*block)
        if int(runs.n.sum()) > _CLOSE * size:
            return None
        # The lowest mm last: of several values for one place numpy keeps the last.
        order = np.argsort(-runs.mm, kind="stable")
        low = runs.pfn[order] - start
        which, page = expand(low, low + runs.n[order])
        out = np.full(size, -1, np.int64)
        out[page] = runs.mm[order][which]
        return np.asarray(out[pfn - start])

    def mapped_lines(self, pfn: I64, n: I64) -> pl.Series:
        """The MAPPED lines of each block, each with its newline; "" for a block that nobody maps."""
        parts = [pl.Series("mapped", [], pl.String)]
        for start in range(0, len(pfn), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(pfn))
            parts.append(self._lines(pfn[start:stop], n[start:stop]))
        return pl.concat(parts)

    def _lines(self, pfn: I64, n: I64) -> pl.Series:
        rows = mapped(self.mappings, self.mms, pfn, n)
        names = {int(t): self._comm_of.get(int(t), "") for t in np.unique(rows.tgid) if t != NO_TASK}
        nameless = rows.tgid == NO_TASK
        comm = pl.Series([names.get(t, "") for t in np.unique(rows.tgid).tolist()], dtype=pl.String)
        who = comm.gather(np.searchsorted(np.unique(rows.tgid), rows.tgid)) if len(rows) else comm
        frame = pl.DataFrame(
            {
                "block": rows.block,
                "tgid": rows.tgid,
                "who": pl.select(
                    pl.when(pl.Series(nameless))
                    .then("mm:0x" + hex_text(self.mms.address[rows.mm]))
                    .otherwise(who)
                ).to_series(),
                "start": hex_text(rows.start),
                "end": hex_text(rows.end),
                "page": rows.page,
                "special": rows.special,
                "migrating": rows.migrating,
            }
        )
        line = pl.format("MAPPED pid {} ({}) 0x{} - 0x{} page {}", "tgid", "who", "start", "end", "page")
        special = pl.when("special").then(pl.lit(" special")).otherwise(pl.lit(""))
        migrating = pl.when("migrating").then(pl.lit(" migrating")).otherwise(pl.lit(""))
        lines = frame.select("block", (line + special + migrating + "\n").alias("line"))
        joined = lines.group_by("block", maintain_order=True).agg(pl.col("line").str.join(""))
        blocks = pl.DataFrame({"block": np.arange(len(pfn))})
        return (
            blocks.join(joined, on="block", how="left", maintain_order="left")["line"]
            .fill_null("")
            .alias("mapped")
        )


def read_process_memory(kernel: Kernel) -> ProcessMemory:
    """Read all tasks, all mms and all their page tables. Use it through ``kernel.memo``."""
    return _read(kernel, None)


@contextmanager
def few_pages(kernel: Kernel, first: int, end: int) -> Iterator[None]:
    """Meanwhile ``kernel.memo(read_process_memory)`` has the mappings of pages *first* <= PFN < *end* alone.

    On a large machine this spares most of the time and nearly all of the memory: every table is looked
    at, but only those that lead to these pages are decoded. What has been read in full is used instead.
    """
    if kernel.knows(read_process_memory):
        yield
        return
    kernel.remember(read_process_memory, _read(kernel, (first, end)))
    try:
        yield
    finally:
        kernel.forget(read_process_memory)


def _read(kernel: Kernel, only: tuple[int, int] | None) -> ProcessMemory:
    sections = kernel.memo(read_sections)
    tasks = kernel.memo(read_tasks)
    mms = read_mms(kernel, tasks, sections.vmemmap, sections.page_size)
    max_pfn = sections.rows[-1].start + sections.rows[-1].n
    arch = x86_64(kernel)
    expected = int(mms.rows["pgtables_bytes"].astype(np.float64).sum()) >> PAGE_SHIFT
    mappings, tables, counts = invert(
        kernel.read_phys,
        arch,
        mms.pgd_pfn,
        max_pfn,
        only=only,
        progress=lambda done: kernel.watch.at("page tables", done, expected),
        live=kernel.live,
    )
    tables = TablePages.join([tables, unwalked_tables(kernel, sections, mms, tables)])
    return ProcessMemory(tasks, mms, mappings, tables, counts)
