# SPDX-License-Identifier: LGPL-2.1-or-later
"""page_owner's records against struct pages, against each other, and against the stack depot."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pageowner.errors import LayoutError
from pageowner.kernel.page_owner import PageOwner, in_buddy
from pageowner.kernel.stackdepot import StackDepot, early_handles
from pageowner.kernel.target import Kernel
from pageowner.snapshot.checks.view import Findings, View


def record_free(view: View) -> Iterator[Findings]:
    """What the buddy allocator has is not allocated: the record is closed before the page gets there.

    But for pages that lay on a CPU's free list when page_owner came up (``init_pages_in_zone()``).
    """
    records = view.section.records
    if records is None:
        return
    bad = np.flatnonzero(records.allocated & in_buddy(view.pages) & view.pages.valid)
    bad = bad[~np.isin(records.rows["handle"][bad], early_handles(view.kernel))]
    yield Findings(
        "record-free", bad + view.start, lambda _: "is in the buddy allocator, but recorded as allocated"
    )


def record_block(view: View) -> Iterator[Findings]:
    """All 2^order pages of a recorded block say that they are allocated, and in a block of that order.

    (Stacks and times may differ: until 6.8 migration moves the head's record only.)
    """
    records, page_owner = view.section.records, view.scan.page_owner
    if records is None or not isinstance(page_owner, PageOwner):
        return
    heads = page_owner.visible(records, view.pages)
    order = records.rows["order"].astype(np.int64)
    heads = heads[(order[heads] > 0) & (order[heads] <= view.scan.layout.max_order)]
    size = np.int64(1) << order[heads]
    block = np.repeat(np.arange(len(heads)), size)
    ends = np.cumsum(size)
    at = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - size, size) + heads[block]
    differs = ((order[at] != order[heads[block]]) | ~records.allocated[at]) & records.readable[at]
    # A block that was freed in parts keeps its head's record: only compound pages are freed whole.
    head = view.pages.head[heads[block]]
    whole = view.heads.compound[head] & (view.heads.n[head] == size[block])
    bad = np.flatnonzero(differs & whole)

    def text(index: int) -> str:
        row = int(bad[index])
        page, first = int(at[row]), int(heads[block[row]])
        said = f"order {int(order[page])}" if records.allocated[page] else "not allocated"
        block_text = f"the block of order {int(order[first])} at PFN 0x{first + view.start:x}"
        return f"is recorded as {said}, but lies in {block_text}"

    yield Findings("record-block", at[bad] + view.start, text)


def record_stack(view: View) -> Iterator[Findings]:
    """The handle of a record is one that the stack depot knows."""
    records = view.section.records
    depot = view.kernel.memo(_depot)
    if records is None or depot is None:
        return
    handles = np.where(records.allocated, records.rows["handle"], 0)
    stacks = depot.stacks(handles)
    bad = np.flatnonzero(np.isin(handles, stacks.handle[~stacks.ok]))
    yield Findings(
        "record-stack",
        bad + view.start,
        lambda i: (
            f"its record has stack handle 0x{int(handles[bad[i]]):x}, which the stack depot does not know"
        ),
    )


def _depot(kernel: Kernel) -> StackDepot | None:
    try:
        return StackDepot(kernel)
    except LayoutError:
        return None
