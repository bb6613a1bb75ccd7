# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel that kexec(8) has loaded: pages in use that are marked reserved (kernel/kexec_core.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.lists import walk_lists
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import PAGE_SHIFT, PAGE_SIZE, Kernel

I64 = npt.NDArray[np.int64]
POINTER = np.dtype("<u8")
_IMAGE = "struct kimage"
_LISTS = ("control_pages", "dest_pages", "unusable_pages")
# Low bits of a kimage_entry_t (include/linux/kexec.h); above them is a physical address.
_INDIRECTION, _DONE, _SOURCE = 2, 4, 8
_MOST_TABLES = 1 << 12  # 8 GiB of sources
_MOST_ORDER = 10


def read_kexec_pages(kernel: Kernel) -> I64:
    """PFNs, ascending, of all pages of the image for the next kernel; none where none is loaded.

    The crash kernel's image is not among them: it lies in memory that boot put aside.
    """
    where = kernel.address("kexec_image")
    if where is None or not kernel.has_member(_IMAGE, "head"):
        return np.empty(0, np.int64)
    image = int(kernel.gather(np.array([where], np.uint64), POINTER)[0][0])
    if not image:
        return np.empty(0, np.int64)
    head, _ = kernel.gather(np.array([image], np.uint64), kernel.dtype(_IMAGE, {"head": "head"}))
    pages = image_pages(kernel.read_phys, int(head["head"][0]))
    return np.unique(np.concatenate([pages, *_listed(kernel, image)]))


def image_pages(read_phys: Callable[[int, int], bytes], entry: int) -> I64:
    """The pages that hold the segments, and the tables that lead to them, each of which ends in the next.

    entry: ``kimage->head``. A table that cannot be read, or comes again, ends it.
    """
    found, tables = [np.empty(0, np.int64)], list[int]()
    while entry & _INDIRECTION and entry >> PAGE_SHIFT not in tables and len(tables) < _MOST_TABLES:
        tables.append(entry >> PAGE_SHIFT)
        try:
            table = read_phys(tables[-1] << PAGE_SHIFT, PAGE_SIZE)
        except drgn.FaultError:
            break
        words = np.frombuffer(table, np.uint64)
        ends = np.flatnonzero((words == 0) | (words & np.uint64(_DONE | _INDIRECTION) != 0))
        last = int(ends[0]) if len(ends) else len(words) - 1
        sources = words[:last][words[:last] & np.uint64(_SOURCE) != 0]
        found.append((sources >> np.uint64(PAGE_SHIFT)).astype(np.int64))
        entry = int(words[last])
    return np.concatenate([*found, np.array(tables, np.int64)])


def _listed(kernel: Kernel, image: int) -> Iterator[I64]:
    """The blocks of pages on the image's lists; ``page->private`` is the order."""
    sections, page = kernel.memo(read_sections), "struct page"
    for name in _LISTS:
        head = np.array([image + kernel.offset(_IMAGE, name)], np.uint64)
        pages = walk_lists(kernel, head).node - np.uint64(kernel.offset(page, "lru"))
        pfn = sections.page_pfn(pages)
        rows, ok = kernel.gather(pages, kernel.dtype(page, {"order": "private"}))
        for first, order in zip(pfn[ok].tolist(), rows["order"][ok].tolist(), strict=True):
            if first >= 0:
                yield first + np.arange(1 << order if order <= _MOST_ORDER else 1)
