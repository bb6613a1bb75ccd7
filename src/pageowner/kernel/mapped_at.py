# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where blocks of pages are mapped, as `report` tells it: one range each, or one line per run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.kernel.mapping import MIGRATING, REPEAT, SPECIAL, Mappings, Overlaps, expand, pieces
from pageowner.kernel.mm import NO_TASK, Mms
from pageowner.kernel.runs import run_starts

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ROWS_AT_ONCE = 1 << 21
NOBODY = np.iinfo(np.int64).max
_CLOSE = 4


@dataclass(frozen=True)
class Lowest:
    """Per block: the range ``start`` … ``end`` (uint64, 0 … 0 if nobody maps it), and ``by_pid`` int64: 0 if
    that is in the allocating tgid, else the tgid that has it, or -1 for an mm without a task."""

    start: U64
    end: U64
    by_pid: I64


def lowest(mappings: Mappings, mms: Mms, pfn: I64, n: I64, tgid: I64, ts: U64) -> Lowest:
    """The lowest range in the allocating process, else in the process with the lowest tgid.

    :param pfn: first page of each block, int64[k]; *n* its length, int64[k].
    :param tgid: who allocated it, int64[k], at *ts* ns after boot, uint64[k]. A process that started later
        than that only has the same number.
    """
    own = mms.of_tgid(tgid, ts)
    out = Lowest(np.zeros(len(pfn), np.uint64), np.zeros(len(pfn), np.uint64), np.zeros(len(pfn), np.int64))
    single = np.flatnonzero(n == 1)
    rest = np.arange(len(pfn))
    if _lowest_of_pages(mappings, mms, pfn[single], own[single], single, out):
        rest = np.flatnonzero(n != 1)
    pfn, n, own = pfn[rest], n[rest], own[rest]
    for part in pieces(mappings.candidates(pfn, n), ROWS_AT_ONCE):
        _lowest(mappings.of_blocks(pfn[part], n[part]), mms, own[part], rest[part], out)
    return out


def _lowest_of_pages(mappings: Mappings, mms: Mms, pfn: I64, own: I64, to: I64, out: Lowest) -> bool:
    """:func:`lowest` of single pages that lie close together: all runs there are spread over the pages.

    :param to: the rows of *out* to fill.
    :returns: False, and nothing done, where that would be more work than to look for each page.
    """
    if not len(pfn):
        return True
    start, size = int(pfn.min()), int(pfn.max() - pfn.min()) + 1
    if size > _CLOSE * len(pfn):
        return False
    near, whole = mappings.part(start, start + size), (np.array([start]), np.array([size]))
    # Tables that many processes share: before so many rows are made.
    if int(near.candidates(*whole)[0]) > _CLOSE * size:
        return False
    runs = near.of_blocks(*whole)
    if int(runs.n.sum()) > size:
        runs = runs.take(_relevant(runs, mms, own))
    if int(runs.n.sum()) > _CLOSE * size:
        return False
    # From runs to pages, from pages to the rows that ask for them.
    end_of = np.cumsum(np.bincount(pfn - start, minlength=size))
    asking = np.argsort(pfn, kind="stable")
    run, page = expand(runs.pfn - start, runs.pfn + runs.n - start)
    which, nth = expand(np.append(0, end_of)[page], end_of[page])
    row, run, page = asking[nth], run[which], page[which]
    va = runs.va[run] + ((page + start - runs.pfn[run]).astype(np.uint64) << np.uint64(12))
    rank = np.where(runs.mm[run] == own[row], 0, _ranks(mms)[runs.mm[run]])
    if len(row) and np.bincount(row).max() > 1:
        order = np.lexsort((va, rank, row))
        row, first = np.unique(row[order], return_index=True)
        va, rank = va[order[first]], rank[order[first]]
    at = to[row]
    out.start[at], out.end[at] = va, va + np.uint64(1 << 12)
    out.by_pid[at] = np.where(rank == NOBODY, NO_TASK, rank)
    return True


def _relevant(found: Overlaps, mms: Mms, own: I64) -> I64:
    """Rows of *found* that can be the lowest for someone: of many mms that have the very same pages only the
    first, and those of allocating processes."""
    address = found.va.astype(np.int64) - (found.pfn << 12)
    order = np.lexsort((address, _ranks(mms)[found.mm], found.n, found.pfn))
    first = order[run_starts(found.pfn[order], found.n[order])]
    return np.union1d(first, np.flatnonzero(np.isin(found.mm, np.unique(own))))


def _ranks(mms: Mms) -> I64:
    """The order in which mms other than the allocating one are asked."""
    return np.where(mms.lowest_tgid == NO_TASK, NOBODY, mms.lowest_tgid)


def _lowest(found: Overlaps, mms: Mms, own: I64, to: I64, out: Lowest) -> None:
    if not len(found):
        return
    rank = np.where(found.mm == own[found.block], 0, _ranks(mms)[found.mm])
    best = np.full(len(own), NOBODY)
    np.minimum.at(best, found.block, rank)
    found = found.take(np.flatnonzero(rank == best[found.block]))
    found = found.take(np.lexsort((found.va, found.block)))
    runs = _contiguous(found, np.zeros(len(found), np.uint8))
    block, first = np.unique(found.block[runs.start], return_index=True)
    at = to[block]
    out.start[at] = found.va[runs.start[first]]
    out.end[at] = out.start[at] + (runs.pages[first].astype(np.uint64) << np.uint64(12))
    rank = best[block]
    out.by_pid[at] = np.where(rank == NOBODY, NO_TASK, rank)


@dataclass(frozen=True)
class _Runs:
    start: I64
    pages: I64


def _contiguous(found: Overlaps, kind: npt.NDArray[np.uint8]) -> _Runs:
    """Join rows of *found* (by block, mm or not, and address) that follow each other in address and PFN."""
    joined = (found.block[1:] == found.block[:-1]) & (found.mm[1:] == found.mm[:-1])
    joined &= found.va[1:] - found.va[:-1] == found.n[:-1].astype(np.uint64) << np.uint64(12)
    joined &= found.pfn[1:] - found.pfn[:-1] == found.n[:-1]
    joined &= kind[1:] == kind[:-1]
    start = np.concatenate(([0], np.flatnonzero(~joined) + 1)) if len(found) else np.empty(0, np.int64)
    pages = np.add.reduceat(found.n, start) if len(found) else np.empty(0, np.int64)
    return _Runs(start, pages)


@dataclass(frozen=True)
class Mapped:
    """The MAPPED lines, by (block, tgid, start): columns of equal length.

    ``block`` int64: index of the block; ``tgid`` int64, -1 for an mm without a task; ``mm`` int64;
    ``start``, ``end`` uint64; ``page`` int64: offset in the block; ``special``, ``migrating`` bool.
    """

    block: I64
    tgid: I64
    mm: I64
    start: U64
    end: U64
    page: I64
    special: Bools
    migrating: Bools

    def __len__(self) -> int:
        return len(self.block)


def mapped(mappings: Mappings, mms: Mms, pfn: I64, n: I64) -> Mapped:
    """Every run, contiguous in address and PFN, in which the blocks are mapped; one per tgid of a shared mm.

    Callers ask for as many blocks as they can print; :meth:`Mappings.candidates` says beforehand how many
    rows there can be.
    """
    found = _unrepeat(mappings.of_blocks(pfn, n))
    found = found.take(np.lexsort((found.va, found.mm, found.block)))
    kind = found.flags & np.uint8(SPECIAL | MIGRATING)
    runs = _contiguous(found, kind)
    row, tgid = _tgids(mms, found.mm[runs.start])
    first = runs.start[row]
    start = found.va[first]
    end = start + (runs.pages[row].astype(np.uint64) << np.uint64(12))
    page = found.pfn[first] - pfn[found.block[first]]
    order = np.lexsort((start, found.mm[first], tgid, found.block[first]))
    first = first[order]
    return Mapped(
        found.block[first],
        tgid[order],
        found.mm[first],
        start[order],
        end[order],
        page[order],
        kind[first] & SPECIAL != 0,
        kind[first] & MIGRATING != 0,
    )


def _unrepeat(found: Overlaps) -> Overlaps:
    """One row per address of rows with REPEAT."""
    if not (found.flags & REPEAT).any():
        return found
    row, nth = expand(np.zeros_like(found.repeat), found.repeat)
    out = found.take(row)
    va = out.va + (nth.astype(np.uint64) << np.uint64(12))
    flags = out.flags & np.uint8(0xFF ^ REPEAT)
    return Overlaps(out.block, out.pfn, out.n, out.mm, va, flags, np.ones_like(out.repeat))


def _tgids(mms: Mms, mm: I64) -> tuple[I64, I64]:
    """(index into *mm*, tgid) for every tgid of each *mm*; -1 where it has none."""
    low = np.searchsorted(mms.pair_mm, mm, "left")
    high = np.searchsorted(mms.pair_mm, mm, "right")
    row, pair = expand(low, np.maximum(high, low + 1))
    none = (high == low)[row]
    tgid = np.append(mms.pair_tgid, NO_TASK)[np.where(none, -1, pair)]
    return row, tgid
