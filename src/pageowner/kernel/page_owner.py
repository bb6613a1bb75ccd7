# SPDX-License-Identifier: LGPL-2.1-or-later
"""``page_owner``: who allocated each page, as the kernel recorded it (mm/page_owner.c)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel import page_type
from pageowner.kernel.memmap import Pages
from pageowner.kernel.page_ext import OWNER, OWNER_ALLOCATED, PageExt, read_page_ext, word_is_on
from pageowner.kernel.sections import Section, valid_pages
from pageowner.kernel.target import Kernel

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# In struct page_owner of every kernel since 5.10.
ALWAYS = ("order", "last_migrate_reason", "gfp_mask", "handle", "free_handle")
# ts_nsec and pid came in 5.11, free_ts_nsec in 5.13, comm and tgid in 5.18, free_pid and free_tgid in 6.8.
SOMETIMES = ("ts_nsec", "free_ts_nsec", "comm", "pid", "tgid", "free_pid", "free_tgid")


@dataclass(frozen=True)
class NoRecords:
    """Why there are no records; ``reason`` is one line for the user. It is no error."""

    reason: str


@dataclass(frozen=True)
class Records:
    """The records of one section, one row per page; every array has ``section.n`` rows.

    ``rows`` is the structured view on the page_ext entries; its columns have the kernel's names and the
    integer types of the target: u16 order, s16 last_migrate_reason, u32 gfp_mask, handle, free_handle,
    u64 ts_nsec, free_ts_nsec (ns since boot), ``S16`` comm, s32 pid, tgid, free_pid, free_tgid.
    ``readable`` tells which rows are really there.
    """

    section: Section
    rows: npt.NDArray[Any]
    readable: Bools

    def column(self, name: str) -> npt.NDArray[Any] | None:
        """The column *name*, or None where this kernel does not record it."""
        return self.rows[name] if name in (self.rows.dtype.names or ()) else None

    @cached_property
    def _flags(self) -> npt.NDArray[np.uint64]:
        return np.ascontiguousarray(self.rows["ext_flags"])

    @cached_property
    def owner(self) -> Bools:
        """PAGE_EXT_OWNER: the page has been allocated at some time, so that the record means something."""
        return np.asarray((self._flags & np.uint64(OWNER)) != 0) & self.readable

    @cached_property
    def allocated(self) -> Bools:
        """PAGE_EXT_OWNER_ALLOCATED as well: the page is allocated now."""
        return np.asarray((self._flags & np.uint64(OWNER_ALLOCATED)) != 0) & self.owner

    @cached_property
    def handle(self) -> npt.NDArray[np.uint32]:
        """The stack of each allocated page; 0 for pages that are not allocated."""
        return np.where(self.allocated, self.rows["handle"], 0).astype(np.uint32)

    @property
    def aligned(self) -> Bools:
        """The PFN is a multiple of 2^order of its own record: the first page of its block."""
        order = self.rows["order"].astype(np.int64)
        pfn = np.arange(self.section.start, self.section.start + self.section.n, dtype=np.int64)
        return np.asarray((pfn & ((np.int64(1) << np.minimum(order, 62)) - 1)) == 0)


@dataclass(frozen=True)
class PageOwner:
    """The page_owner of one kernel.

    ``dtype`` picks the record out of a page_ext entry. Only pages with first_pfn <= PFN < end_pfn are
    printed by the kernel, block_pages at a time (MAX_ORDER_NR_PAGES).
    """

    page_ext: PageExt
    dtype: np.dtype[Any]
    first_pfn: int
    end_pfn: int
    block_pages: int

    @property
    def has(self) -> frozenset[str]:
        """Names of the recorded columns."""
        return frozenset(self.dtype.names or ())

    def records(self, section: Section) -> Records | None:
        """The records of *section*; None for a section without page_ext (offline, device memory)."""
        read = self.page_ext.read(section)
        if read is None:
            return None
        entries, readable = read
        return Records(section, entries.reshape(-1).view(self.dtype), readable)

    def visible(self, records: Records, pages: Pages) -> I64:
        """Which rows ``read_page_owner()`` would print, in PFN order (int64 indices into the section).

        It leaves out free blocks of the buddy allocator, pages that are not allocated, pages that are not
        the first of their block by the record's own order, and records without a stack.
        """
        shown = records.allocated & records.aligned & (records.rows["handle"] != 0)
        shown &= self._walked(records.section, pages)
        shown &= ~in_buddy(pages)
        return np.flatnonzero(shown)

    def freed(self, records: Records, pages: Pages) -> I64:
        """Rows whose last free is known: first pages of blocks that were freed at least once.

        The block is that of the latest allocation, whether it is allocated again by now or not.
        """
        shown = records.owner & records.aligned & (records.rows["free_handle"] != 0)
        return np.flatnonzero(shown & self._walked(records.section, pages))

    def _walked(self, section: Section, pages: Pages) -> Bools:
        """Pages that the kernel's walk looks at; it tests ``pfn_valid()`` at the start of a block only."""
        pfn = pages.pfn
        walked = pages.valid & (pfn >= self.first_pfn) & (pfn < self.end_pfn)
        block = min(self.block_pages, section.n)
        if not section.early and section.n % block == 0:
            exists = valid_pages(self.page_ext.kernel, section)
            walked &= np.repeat(exists[::block], block)
        return walked


def in_buddy(pages: Pages) -> Bools:
    """Pages that lie in a free block of the buddy allocator, bool[n]."""
    is_buddy = np.append(pages.heads.type == page_type.BUDDY, False)
    return np.asarray(is_buddy[pages.head])


def read_page_owner(kernel: Kernel) -> PageOwner | NoRecords:
    """The page_owner of *kernel*, or why it has none."""
    try:
        if not word_is_on(kernel, "page_owner_inited"):
            return NoRecords(
                "page_owner is off: boot the kernel with page_owner=on to have allocations recorded"
            )
        page_ext = read_page_ext(kernel)
        offset = int(kernel.object("page_owner_ops").offset)
        return _page_owner(kernel, page_ext, offset)
    except LookupError:
        return NoRecords("the kernel is built without CONFIG_PAGE_OWNER: no allocation is recorded")
    except drgn.FaultError:
        return NoRecords("the source lacks the variables of page_owner: no record can be read")


def _page_owner(kernel: Kernel, page_ext: PageExt | None, offset: int) -> PageOwner | NoRecords:
    dtype = None if page_ext is None else _entry_dtype(kernel, page_ext.entry_size, offset)
    if page_ext is None or dtype is None:
        return NoRecords("page_ext_size and page_owner_ops contradict each other: no record can be read")
    free_areas = kernel.vmcoreinfo.lengths.get("zone.free_area", 11)
    return PageOwner(
        page_ext,
        dtype,
        first_pfn=int(kernel.object("min_low_pfn")),
        end_pfn=int(kernel.object("max_pfn")),
        block_pages=1 << (free_areas - 1),
    )


def _entry_dtype(kernel: Kernel, entry_size: int, offset: int) -> np.dtype[Any] | None:
    """One page_ext entry: the flags word, and page_owner's record at *offset*; None if that does not fit."""
    present = [name for name in SOMETIMES if kernel.has_member("struct page_owner", name)]
    record = kernel.dtype("struct page_owner", {name: name for name in (*ALWAYS, *present)})
    # With its own flags the offset is 8. Since 6.3 a kernel could keep none; page_owner always asks for them.
    if not 8 <= offset <= entry_size - record.itemsize:
        return None
    fields: Mapping[str, Any] = record.fields or {}
    spec: dict[str, Any] = {
        "names": ["ext_flags", *fields],
        "formats": ["<u8", *(field[0] for field in fields.values())],
        "offsets": [0, *(field[1] + offset for field in fields.values())],
        "itemsize": entry_size,
    }
    return np.dtype(spec)  # type: ignore[call-overload,no-any-return]
