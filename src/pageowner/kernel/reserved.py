# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names for reserved pages: by what reaches them from a global, else by the resource tree, else by place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.boot_memory import Piece, boot_pieces
from pageowner.kernel.iomem import is_ram, ram_ranges, read_iomem
from pageowner.kernel.kexec import read_kexec_pages
from pageowner.kernel.target import PAGE_SHIFT, Kernel

I64 = npt.NDArray[np.int64]

UNKNOWN = "unknown"
HOLE = "hole"
LOW_MEMORY = "low 1 MiB"
KEXEC = "kexec image"
_LOW_PFNS = 0x100
_MOST_NAMES = 4  # of one page
_MOST_PAGES = 1 << 22  # of all pieces together: 16 GiB


@dataclass(frozen=True)
class ReservedNames:
    """``names``: all of them. ``pfn`` int64, ascending, and ``name`` int64: pages that globals reach.

    ``first``, ``last``, ``resource`` int64: page ranges of the resource tree, parents before children.
    ``next_kernel`` int64, ascending: pages of the image that kexec loaded.
    """

    names: tuple[str, ...]
    pfn: I64
    name: I64
    first: I64
    last: I64
    resource: I64
    ram: tuple[I64, I64]
    next_kernel: I64

    def of(self, pfns: I64) -> I64:
        """Row in ``names`` for each of *pfns* (ascending)."""
        ram = is_ram(self.ram, pfns)
        out = np.where(ram, self._number(UNKNOWN), self._number(HOLE))
        out[ram & (pfns < _LOW_PFNS)] = self._number(LOW_MEMORY)
        if len(pfns):
            for row in np.flatnonzero((self.first <= pfns[-1]) & (self.last >= pfns[0])).tolist():
                low, high = np.searchsorted(pfns, [self.first[row], self.last[row] + 1])
                out[low:high] = self.resource[row]
        out[np.isin(pfns, self.next_kernel)] = self._number(KEXEC)
        at = np.minimum(np.searchsorted(self.pfn, pfns), max(len(self.pfn) - 1, 0))
        if len(self.pfn):
            out = np.where(self.pfn[at] == pfns, self.name[at], out)
        return np.asarray(out, np.int64)

    def _number(self, name: str) -> int:
        return self.names.index(name)


def read_reserved_names(kernel: Kernel) -> ReservedNames:
    """The names of everything that can be reserved on *kernel*."""
    iomem = kernel.memo(read_iomem)
    # Of RAM only what lies in it has a name; the image is another layer's.
    inner = iomem.filter(~((pl.col("depth") == 0) & pl.col("name").str.starts_with("System RAM")))
    next_kernel = kernel.memo(read_kexec_pages)
    reached = _reached(kernel)
    # Where the initrd was another's pages may lie now.
    reached = reached.filter(~pl.col("pfn").is_in(next_kernel.tolist()))
    texts = reached["name"].to_list() + inner["name"].to_list()
    names = tuple(dict.fromkeys([UNKNOWN, HOLE, LOW_MEMORY, KEXEC, *texts]))
    number = {name: i for i, name in enumerate(names)}
    return ReservedNames(
        names,
        reached["pfn"].to_numpy(),
        np.array([number[name] for name in reached["name"]], np.int64),
        (inner["start"].to_numpy() >> np.uint64(PAGE_SHIFT)).astype(np.int64),
        (inner["end"].to_numpy() >> np.uint64(PAGE_SHIFT)).astype(np.int64),
        np.array([number[name] for name in inner["name"]], np.int64),
        ram_ranges(iomem),
        next_kernel,
    )


def _reached(kernel: Kernel) -> pl.DataFrame:
    """``pfn``, ``name``: one row per page that a global leads to, the names of all that is in it joined."""
    pieces = boot_pieces(kernel)
    first, last = _page_ranges(kernel, pieces)
    pages = np.maximum(last - first + 1, 0)
    ends = np.cumsum(pages)
    which = np.repeat(np.arange(len(pieces)), pages)
    pfn = np.arange(len(which)) - np.repeat(ends - pages, pages) + first[which]
    names = pl.Series([name for name, _, _ in pieces], dtype=pl.String)
    each = pl.DataFrame(
        {"pfn": pfn, "name": names.gather(which)}, schema={"pfn": pl.Int64, "name": pl.String}
    )
    joined = (
        each.unique(maintain_order=True).group_by("pfn").agg(pl.col("name").head(_MOST_NAMES).str.join(", "))
    )
    return joined.sort("pfn")


def _page_ranges(kernel: Kernel, pieces: list[Piece]) -> tuple[I64, I64]:
    """First and last PFN of each piece; those in vmalloc space have none, for they are nobody's reserve."""
    start = np.array([start for _, start, _ in pieces], np.uint64)
    end = start + np.array([size - 1 for _, _, size in pieces], np.uint64)
    low, linear = kernel.linear_to_phys(start)
    high, linear_end = kernel.linear_to_phys(end)
    good = linear & linear_end & (end >= start)
    first = (low >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    last = (high >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    pages = np.where(good & (last - first < _MOST_PAGES), last - first + 1, 0)
    # A torn size must not cost the names of what came before it.
    return first, first - 1 + np.where(np.cumsum(pages) <= _MOST_PAGES, pages, 0)
