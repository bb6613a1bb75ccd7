# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page_owner record of one page: its allocation and its last free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pageowner.escape import escape
from pageowner.kernel.page_owner import PageOwner
from pageowner.kernel.pageblock import PageBlocks
from pageowner.kernel.record_table import record_table
from pageowner.kernel.stackdepot import special_handles
from pageowner.kernel.target import Kernel
from pageowner.ownertext.tables import Texts, TextTables
from pageowner.rawtext import to_bytes
from pageowner.snapshot.one_page import OnePage
from pageowner.snapshot.scan import Scan


@dataclass(frozen=True)
class Event:
    """An allocation or a free. What this kernel does not record is None. ``ts``: ns after boot; ``stack``:
    its frames, innermost first; ``note``: what a handle without a stack stands for."""

    pid: int | None
    tgid: int | None
    comm: str | None
    ts: int | None
    stack: list[str]
    note: str


@dataclass(frozen=True)
class Record:
    """``allocated``: now; else these are the last allocation's. ``first``: first PFN of the block of
    2^``order`` pages; ``gfp``: mask and its text; ``migrated``: the reason, or "" if the page was not."""

    allocated: bool
    first: int
    order: int
    gfp: str
    migrated: str
    allocation: Event
    freed: Event | None


def record_of(scan: Scan, page: OnePage, blocks: PageBlocks) -> Record | None:
    """The record of the page; None where the kernel never allocated it, or keeps no records."""
    records = page.scan.records
    if records is None or not isinstance(scan.page_owner, PageOwner) or not records.owner[page.at]:
        return None
    at = np.array([page.at])
    table = record_table(records, page.scan.pages, np.zeros(page.scan.pages.section.n, np.uint8), at)
    texts = Texts(scan.kernel, blocks.order)
    texts.tables(table)
    names = texts.tables(table, "free_handle")
    row = table.row(0, named=True)
    reason = row["last_migrate_reason"]
    return Record(
        allocated=row["allocated"],
        first=page.block[0],
        order=row["order"],
        gfp=names.gfp.text(row["gfp_mask"]),
        migrated="" if reason == names.types.never else names.types.reason(reason),
        allocation=_event(scan.kernel, names, row, "", row["handle"]),
        freed=_event(scan.kernel, names, row, "free_", row["free_handle"]) if row["free_handle"] else None,
    )


def _event(kernel: Kernel, names: TextTables, row: dict[str, object], prefix: str, handle: int) -> Event:
    stacks = dict(names.stacks.iter_rows())
    comm = row.get("comm") if not prefix else None
    return Event(
        pid=_number(row.get(f"{prefix}pid")),
        tgid=_number(row.get(f"{prefix}tgid")),
        comm=None if comm is None else escape(to_bytes(str(comm)), "()"),
        ts=_number(row.get(f"{prefix}ts_nsec")),
        stack=[escape(line.strip()) for line in stacks.get(handle, "").splitlines()],
        note=special_handles(kernel).get(handle, ""),
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
