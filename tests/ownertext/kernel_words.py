# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's page_owner text taken apart for comparing, and ours made from the same core."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pageowner.kernel.memmap import page_layout, read_pages
from pageowner.kernel.page_owner import NoRecords, read_page_owner
from pageowner.kernel.pageblock import read_pageblocks
from pageowner.kernel.record_table import record_table
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel
from pageowner.ownertext.tables import Texts
from pageowner.ownertext.write import freed_text, kernel_text, record_bytes
from pageowner.sources import open_core

_START = re.compile(rb"(?m)^(?=Page allocated via order \d+, mask 0x)")
_MIGRATED = b"Page has been migrated, "
_CHARGED = (b"Charged ", b"Slab cache page")


@dataclass(frozen=True)
class Words:
    """One record: ``place`` is the PFN line up to the flags; ``migrated`` and ``charged`` may be empty."""

    header: bytes
    place: bytes
    flags: bytes
    frames: tuple[bytes, ...]
    migrated: bytes
    charged: bytes


def take_apart(text: bytes) -> dict[tuple[int, int], Words]:
    """Records by (PFN, time of the allocation, 0 up to 5.10). A comm may hold newlines: a header ends before
    a PFN line."""
    found = {}
    for piece in _START.split(text)[1:]:
        header, rest = piece.split(b"\nPFN ", 1)
        stamp = re.search(rb", ts (\d+) ns(?:, free_ts \d+ ns)?$", header)
        first, *lines = rest.split(b"\n")
        place, flags = first.rsplit(b" Flags ", 1)
        assert lines[-2:] == [b"", b""], piece
        when = int(stamp[1]) if stamp else 0
        found[int(place.split()[0], 0), when] = _words(header, place, flags, lines[:-2])
    return found


def _words(header: bytes, place: bytes, flags: bytes, lines: list[bytes]) -> Words:
    frames = tuple(line for line in lines if line.startswith(b" "))
    migrated = [line for line in lines if line.startswith(_MIGRATED)]
    charged = [line for line in lines if line.startswith(_CHARGED)]
    assert [*frames, *migrated, *charged] == lines
    return Words(header, place, flags, frames, b"".join(migrated), b"".join(charged))


@dataclass(frozen=True)
class Ours:
    """What we make of a core: its records as a table and as text, and the last-free halves.

    ``last_event`` is the time of the latest allocation or free of each PFN, ns since boot; empty where
    records have no times.
    """

    kernel: Kernel
    last_event: dict[int, int]
    records: pl.DataFrame
    text: bytes
    freed: pl.DataFrame
    freed_text: pl.DataFrame
    texts: Texts


def read_core(core: Path) -> Ours:
    """All records of *core*."""
    kernel = open_core(core)
    sections, owner = read_sections(kernel), read_page_owner(kernel)
    assert not isinstance(owner, NoRecords), owner.reason
    layout, blocks = page_layout(kernel, sections), read_pageblocks(kernel, sections)
    texts = Texts(kernel, blocks.order)
    shown, freed, events = [], [], {}
    for section in sections:
        records, pages = owner.records(section), read_pages(kernel, layout, section)
        if records is not None:
            types = blocks.page_types(section)
            if "ts_nsec" in (records.rows.dtype.names or ()):
                latest = np.maximum(records.rows["ts_nsec"], records.rows["free_ts_nsec"])
                events.update(zip(pages.pfn.tolist(), latest.tolist(), strict=True))
            shown.append(record_table(records, pages, types, owner.visible(records, pages)))
            freed.append(record_table(records, pages, types, owner.freed(records, pages)))
    table, free = pl.concat(shown), pl.concat(freed)
    text = record_bytes(kernel_text(table, texts.tables(table)))
    return Ours(kernel, events, table, text, free, freed_text(free, texts.tables(free, "free_handle")), texts)
