# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages that cannot be moved, why, and who allocated them; and the units of memory that somebody may want."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.analyses.blockers import BUFFERS, KIND, MOVABLE, PINNED, REFERENCED
from pageowner.analyses.diff import FREE
from pageowner.kernel.buffers import held_buffers
from pageowner.kernel.cma import read_cma
from pageowner.kernel.held import HeldFolios
from pageowner.kernel.memmap import Heads
from pageowner.kernel.memory_block import read_memory_blocks
from pageowner.kernel.page_flags import flag_mask
from pageowner.snapshot.claims import UNCLAIMED
from pageowner.snapshot.lines import owner_ids
from pageowner.snapshot.scan import Scan, SectionScan
from pageowner.snapshot.stack_names import StackNames
from pageowner.snapshot.usage import Usage

U8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

_WHY = (KIND, PINNED, REFERENCED, BUFFERS)
_AS_KIND, _AS_PINNED, _AS_REFERENCED, _AS_BUFFERS, _NONE = 0, 1, 2, 3, 255
# Kinds that are held by design, and how often: aio keeps an array of its pages, and moves them itself.
_OWN = {"AIO_RING_PAGE": 1}
# Kinds with movable_ops, by which the driver moves them: nothing that user space could pin.
_BY_DRIVER = ("ZSMALLOC_PAGE",)
_SCHEMA = {"pfn": pl.Int64, "n": pl.Int64, "id": pl.Int64, "why": pl.String, "stack": pl.Int64}
_UNIT_SCHEMA = {"unit": pl.String, "name": pl.String, "pfn": pl.Int64, "n": pl.Int64, "state": pl.String}


class ByObstacle:
    """Pages in the way as runs of one owner, reason and stack."""

    def __init__(self, scan: Scan) -> None:
        self._scan, self._kernel = scan, scan.kernel
        self._free = self._numbers(*FREE)
        self._movable = self._numbers(*MOVABLE)
        self._holdable = self._numbers("HUGETLB_PAGE", *(word for word in MOVABLE if word not in _BY_DRIVER))
        self._parts: list[pl.DataFrame] = []
        self._moves = flag_mask(scan.kernel, "PG_movable_ops")

    def _numbers(self, *words: str) -> list[int]:
        return [run.number for run in self._scan.runs if run.word in words]

    def add(self, section: SectionScan) -> None:
        """Find the pages in the way of one section."""
        why = self._why(section)
        ids = owner_ids(section)
        handle = np.zeros(len(why), np.uint32)
        if section.records is not None:
            handle = np.where(section.records.allocated, section.records.rows["handle"], 0).astype(np.uint32)
        edge = np.ones(len(why), np.bool_)
        edge[1:] = (why[1:] != why[:-1]) | (ids[1:] != ids[:-1]) | (handle[1:] != handle[:-1])
        first = np.flatnonzero(edge)
        kept = why[first] != _NONE
        at, n = first[kept], np.diff(np.append(first, len(why)))[kept]
        columns = {"layer": section.layer[at], "row": section.owner_rows()[at], "handle": handle[at]}
        frame = pl.DataFrame({"pfn": at + section.pages.section.start, "n": n, "why": why[at], **columns})
        self._parts.append(frame)

    def _why(self, section: SectionScan) -> U8:
        """Why each page cannot move, as an index into ``_WHY``; 255 for those that can, and free ones."""
        layer, head = section.layer, section.pages.head
        moves = np.isin(layer, self._movable)
        why = np.where(moves | np.isin(layer, self._free) | (layer == UNCLAIMED), _NONE, _AS_KIND)
        why = why.astype(np.uint8)
        held = self._held(section)[head]
        asked = np.isin(layer, self._holdable) & (held != _NONE)
        why[asked] = held[asked]
        balloon = np.isin(layer, self._numbers("OFFLINE_PAGE"))
        why[balloon & self._of_driver(section.pages.heads)[head]] = _NONE
        return why

    def _held(self, section: SectionScan) -> U8:
        """Why each head is held, one more for pages without a head."""
        heads = section.pages.heads
        held = self._kernel.memo(HeldFolios).of(section.pages)
        own = np.zeros(len(heads), np.int64)
        layer = self._head_layer(section)
        for word, count in _OWN.items():
            own[np.isin(layer, self._numbers(word))] = count
        why = np.full(len(heads) + 1, _NONE, np.uint8)
        why[:-1][held.extra > own] = _AS_REFERENCED
        why[:-1][held.pinned] = _AS_PINNED
        rows = np.flatnonzero(np.isin(layer, self._numbers("BDEV_PAGE")) & (why[:-1] == _NONE))
        busy = held_buffers(self._kernel, np.ascontiguousarray(heads.rows["private"][rows]))
        why[rows[busy]] = _AS_BUFFERS
        return why

    def _head_layer(self, section: SectionScan) -> U8:
        """The layer of a page of each head: of its last one in the section."""
        head = section.pages.head
        out = np.full(len(section.pages.heads) + 1, UNCLAIMED, np.uint8)
        out[head] = section.layer
        return out[:-1]

    def _of_driver(self, heads: Heads) -> Bools:
        """Pages that their driver moves: PAGE_MAPPING_MOVABLE until 6.16, then PG_movable_ops."""
        moves = (heads.flags & np.uint64(self._moves)) != 0 if self._moves else heads.mapping_bits == 2
        return np.append(moves, False)

    def frame(self) -> pl.DataFrame:
        """``pfn``, ``n``, ``id`` (of the owner), ``why`` (one of :mod:`pageowner.analyses.blockers`'s words),
        ``stack`` (of the allocation; 0: not recorded), by PFN."""
        if not self._parts:
            return pl.DataFrame(schema=_SCHEMA)
        runs = pl.concat(self._parts).cast({"layer": pl.UInt8, "row": pl.Int32})
        owners = Usage(self._scan).names().select("layer", "row", "id")
        stacks = self._kernel.memo(StackNames).table(runs.get_column("handle").unique())
        named = runs.join(owners, on=["layer", "row"], how="left", maintain_order="left")
        named = named.join(stacks.select("handle", "stack"), on="handle", how="left", maintain_order="left")
        why = pl.col("why").cast(pl.Int64).replace_strict(dict(enumerate(_WHY)), return_dtype=pl.String)
        told = named.with_columns(why, pl.col("stack").fill_null(0))
        return told.select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())


class ByUnit:
    """Memory blocks and CMA areas: not counted, but listed."""

    def __init__(self, scan: Scan) -> None:
        self._kernel = scan.kernel

    def add(self, section: SectionScan) -> None:
        """Nothing: these are not made of pages, but lie over them."""

    def frame(self) -> pl.DataFrame:
        """``unit`` ("block" or "cma"), ``name``, ``pfn``, ``n``, ``state`` (of blocks: online, offline)."""
        blocks = read_memory_blocks(self._kernel).with_columns(unit=pl.lit("block"))
        areas = self._kernel.memo(read_cma).with_columns(unit=pl.lit("cma"), state=pl.lit("", pl.String))
        return pl.concat([each.select(_UNIT_SCHEMA.keys()) for each in (blocks, areas)])
