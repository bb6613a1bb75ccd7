# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records as a table: chosen rows of a section's page_owner and struct pages, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.memmap import Pages
from pageowner.kernel.page_owner import Records
from pageowner.kernel.runs import distinct
from pageowner.rawtext import carry

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

# Columns and their types; those of the record that this kernel does not keep are left out.
RECORD_SCHEMA: dict[str, Any] = {
    "pfn": pl.Int64,
    "allocated": pl.Boolean,
    "order": pl.UInt16,
    "last_migrate_reason": pl.Int16,
    "gfp_mask": pl.UInt32,
    "handle": pl.UInt32,
    "free_handle": pl.UInt32,
    "ts_nsec": pl.UInt64,
    "free_ts_nsec": pl.UInt64,
    "comm": pl.String,
    "pid": pl.Int32,
    "tgid": pl.Int32,
    "free_pid": pl.Int32,
    "free_tgid": pl.Int32,
    "flags": pl.UInt64,
    "memcg_data": pl.UInt64,
    "block_type": pl.UInt8,
}


def record_table(records: Records, pages: Pages, block_types: U8, at: I64) -> pl.DataFrame:
    """Rows *at* (indices into the section) of *records*, with the words of their struct pages.

    :param block_types: migrate type of each page's pageblock, uint8[n].
    :returns: columns of :data:`RECORD_SCHEMA`, in the order of *at*. ``comm`` is carried
        (:mod:`pageowner.rawtext`); ``memcg_data`` is 0 for tail pages, to which nothing is charged.
    """
    columns: dict[str, npt.NDArray[Any] | pl.Series] = {
        "pfn": at + records.section.start,
        "allocated": records.allocated[at],
        "flags": pages.flags[at],
        "block_type": block_types[at],
    }
    memcg = _memcg_words(pages, at)
    if memcg is not None:
        columns["memcg_data"] = memcg
    for name in RECORD_SCHEMA:
        column = records.column(name)
        if column is not None:
            columns[name] = comm_text(column[at]) if name == "comm" else column[at]
    schema = {name: kind for name, kind in RECORD_SCHEMA.items() if name in columns}
    return pl.DataFrame({name: columns[name] for name in schema}, schema=schema)


def comm_text(comms: npt.NDArray[Any]) -> pl.Series:
    """Task names (``S16`` and the like, shape (n,)) up to their first NUL, as carried strings.

    Bytes behind the NUL are left from older names: strscpy() does not clear them.
    """
    unique, which = distinct(comms)
    names = [carry(raw.split(b"\0", 1)[0]) for raw in unique.tolist()]
    return pl.Series("comm", names, dtype=pl.String)[pl.Series(which)]


def _memcg_words(pages: Pages, at: I64) -> npt.NDArray[np.uint64] | None:
    names = pages.rows.dtype.names or ()
    if "memcg" not in names:
        return None
    tail = (pages.rows["word1"][at] & np.uint64(1)) != 0
    return np.where(tail, np.uint64(0), pages.rows["memcg"][at])
