# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pack the entries of table pages into runs: neighbours in the table that map neighbours in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pageowner.kernel.mapping import REPEAT, SPECIAL
from pageowner.kernel.pagetable.tables import ENTRIES
from pageowner.kernel.pagetable.x86_64 import BAD, MARKER, PAGE, POISONED, SWAPPED, TABLE, X86_64, Entries

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Runs:
    """Runs of *n* entries that begin at ``column`` of table ``row``; ``pfn`` of the first page, or its swap
    offset; ``tables`` are the positions (row * 512 + column) of pointers to tables, ``table_pfns`` those."""

    row: I64
    column: I64
    n: I64
    kind: U8
    flags: U8
    pfn: I64
    type: U8
    tables: I64
    table_pfns: I64
    bad: int
    markers: int

    def take(self, keep: I64) -> Runs:
        """Only the runs *keep*; pointers to tables and counts as they are."""
        names = ("row", "column", "n", "kind", "flags", "pfn", "type")
        return replace(self, **{name: getattr(self, name)[keep] for name in names})

    @property
    def is_page(self) -> npt.NDArray[np.bool_]:
        mask: npt.NDArray[np.bool_] = self.kind == PAGE
        return mask


def decode_runs(arch: X86_64, rows: npt.NDArray[np.uint64], level: int, kernel: bool = False) -> Runs:
    """Decode tables *rows*, uint64[k, 512], of *level*; *kernel*: of the kernel's half."""
    flat = rows.reshape(-1)
    at = np.flatnonzero(flat)
    entries = arch.decode_kernel(flat[at], level) if kernel else arch.decode(flat[at], level)
    table = entries.kind == TABLE
    kept = np.flatnonzero((entries.kind == PAGE) | (entries.kind == SWAPPED) | (entries.kind == POISONED))
    step = 1 << (arch.shift(level) - 12)
    start, n = _find_runs(at[kept], entries, kept, step)
    first = kept[start]
    return Runs(
        row=at[first] // ENTRIES,
        column=at[first] % ENTRIES,
        n=n,
        kind=entries.kind[first],
        flags=entries.flags[first],
        pfn=entries.pfn[first].astype(np.int64),
        type=entries.type[first],
        tables=at[table],
        table_pfns=entries.pfn[table].astype(np.int64),
        bad=int(np.count_nonzero(entries.kind == BAD)),
        markers=int(np.count_nonzero(entries.kind == MARKER)),
    )


def _find_runs(at: I64, entries: Entries, kept: I64, step: int) -> tuple[I64, I64]:
    """Where runs begin among positions *at* of entries *kept*, and their lengths.

    A page or offset follows its neighbour when it is *step* further; swap slots follow by one in a PTE
    table, and by a huge page's worth in a PMD table.
    """
    if not len(at):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    pfn, flags = entries.pfn[kept], entries.flags[kept]
    apart = pfn[1:] - pfn[:-1]
    same = (np.diff(at) == 1) & (at[1:] % ENTRIES != 0)
    for column in (entries.kind, entries.type, flags):
        values = column if column is flags else column[kept]
        same &= values[1:] == values[:-1]
    # The zero page: any number of addresses for one page.
    again = same & (apart == 0) & (flags[1:] & SPECIAL != 0) if step == 1 else np.zeros_like(same)
    repeats = np.append(again, False) | np.insert(again, 0, False)
    entries.flags[kept[repeats]] |= REPEAT
    on = (apart == np.uint64(step)) & ~repeats[1:] & ~repeats[:-1]
    same &= again | on
    start = np.concatenate(([0], np.flatnonzero(~same) + 1))
    return start, np.diff(start, append=len(at))
