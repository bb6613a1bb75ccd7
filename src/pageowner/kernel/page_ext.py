# SPDX-License-Identifier: LGPL-2.1-or-later
"""``page_ext``: the extra bytes that the kernel keeps for each page, beside struct page (mm/page_ext.c)."""

from __future__ import annotations

from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.sections import Section
from pageowner.kernel.target import PAGE_SHIFT, Kernel

# The low bit of mem_section.page_ext: the memory is going offline (b1d5488a2526, 6.1). Before, NULL says so.
PAGE_EXT_INVALID = 1
# enum page_ext_flags; these two never moved.
OWNER, OWNER_ALLOCATED = 1 << 0, 1 << 1
_LARGEST_ENTRY = 4096

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PageExt:
    """The page_ext tables of a kernel; ``entry_size`` is the global ``page_ext_size``, in bytes."""

    kernel: Kernel
    entry_size: int

    def address(self, word: int, pfn: int) -> int:
        """Address of the entry of *pfn*, given the biased table *word* of its section.

        The word is the table's address less ``entry_size`` times the section's first PFN, modulo 2^64; the
        sum wraps back to where the table is.
        """
        return (word + self.entry_size * pfn) % (1 << 64)

    def read(self, section: Section) -> tuple[npt.NDArray[np.uint8], Bools] | None:
        """All entries of *section*, in one big read (around faults when there are any).

        :returns: uint8[n, entry_size] and bool[n] readable; None for a section without a table.
        """
        word = section.page_ext
        if not word or word & PAGE_EXT_INVALID:
            return None
        start, size = self.address(word, section.start), self.entry_size
        data, ok = self.kernel.read_pieces(start, section.n * size)
        entries = np.frombuffer(data, np.uint8).reshape(section.n, size)
        return entries, _spread(ok, start, section.n, size)


def read_page_ext(kernel: Kernel) -> PageExt | None:
    """The page_ext of *kernel*; None when it has none (no client asked for it at boot, or not built in).

    :raises drgn.FaultError: when the source lacks the variable.
    """
    try:
        size = int(kernel.object("page_ext_size"))
    except LookupError:
        return None
    return PageExt(kernel, size) if 0 < size <= _LARGEST_ENTRY else None


def flatmem_word(kernel: Kernel, node_page_ext: int, node_start_pfn: int, entry_size: int) -> int:
    """The word that makes a FLATMEM node's one table look like that of a section.

    There ``pglist_data.node_page_ext`` is not biased: it is the entry of the first page of the MAX_ORDER
    block in which the node begins.
    """
    block = 1 << (kernel.vmcoreinfo.lengths.get("zone.free_area", 11) - 1)
    return (node_page_ext - entry_size * (node_start_pfn // block * block)) % (1 << 64)


def word_is_on(kernel: Kernel, key: str) -> bool:
    """Whether the static key *key* is enabled (``static_branch_unlikely()``).

    :raises LookupError: when there is no such key.
    :raises drgn.FaultError: when the source lacks it.
    """
    value: drgn.Object = kernel.object(key).key.enabled.counter
    return int(value) > 0


def _spread(ok: Bools, start: int, n: int, size: int) -> Bools:
    """Entries that lie in readable pages only."""
    if ok.all():
        return np.ones(n, np.bool_)
    at = start % (1 << PAGE_SHIFT) + np.arange(n, dtype=np.int64) * size
    return np.asarray(ok[at >> PAGE_SHIFT] & ok[(at + size - 1) >> PAGE_SHIFT])
