# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where pages lie and since when: what a picture of physical memory needs beside the owner."""

from __future__ import annotations

from contextlib import suppress

import drgn
import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.migratetype import read_migrate_types
from pageowner.kernel.page_flags import read_page_flags
from pageowner.kernel.page_owner import Records
from pageowner.kernel.pageblock import PageBlocks, read_pageblocks
from pageowner.snapshot.claims import UNCLAIMED
from pageowner.snapshot.scan import Scan, SectionScan

AGES = (0, 1, 10, 60, 600, 3600, 21600, 86400, 604800)
"""Ages are told in these steps, in seconds before the last recorded allocation."""
_NO_TYPE = 255
_SHIFT = 30  # of nanoseconds: about a second
_KEYS = ("node", "zone", "type", "process", "seconds")
_SCHEMA = {
    "pfn": pl.Int64,
    "n": pl.Int64,
    "node": pl.Int16,
    "zone": pl.Int8,
    "block": pl.Int8,
    "mobility": pl.String,
    "process": pl.String,
    "age": pl.Int32,
}


class ByPlace:
    """Pages as runs of the same node, zone, mobility, allocating process and age."""

    def __init__(self, scan: Scan) -> None:
        self._flags = read_page_flags(scan.kernel)
        self._names = scan.kernel.memo(read_migrate_types)
        self._blocks: PageBlocks | None = None
        with suppress(LookupError, drgn.FaultError):  # FLATMEM: no mobility to tell
            self._blocks = read_pageblocks(scan.kernel, scan.sections)
        self._processes: dict[tuple[int, bytes], int] = {}
        self._parts: list[pl.DataFrame] = []

    def add(self, section: SectionScan) -> None:
        pages, where = section.pages, section.pages.section
        process, seconds = self._records(section.records, where.n)
        kinds = self._blocks.page_types(where) if self._blocks else np.full(where.n, _NO_TYPE, np.uint8)
        flags = pages.flags
        columns: dict[str, npt.NDArray[np.generic]] = {
            "node": self._flags.node(flags).astype(np.int16),
            "zone": self._flags.zone(flags).astype(np.int8),
            "type": kinds,
            "process": process,
            "seconds": seconds,
        }
        exists = section.layer != UNCLAIMED
        edge = np.ones(where.n, np.bool_)
        edge[1:] = exists[1:] != exists[:-1]
        for column in columns.values():
            edge[1:] |= column[1:] != column[:-1]
        first = np.flatnonzero(edge)
        frame = pl.DataFrame(
            {
                "pfn": first + where.start,
                "n": np.diff(np.append(first, where.n)),
                **{name: column[first] for name, column in columns.items()},
            }
        )
        self._parts.append(frame.filter(pl.Series(exists[first])))

    def _records(
        self, records: Records | None, n: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Number of the process that allocated each page, and when, in about seconds; -1: not recorded."""
        process, seconds = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
        if records is None:
            return process, seconds
        allocated = records.allocated
        stamps, tgids, comms = (records.column(name) for name in ("ts_nsec", "tgid", "comm"))
        if stamps is not None:
            known = allocated & (stamps != 0)
            seconds[known] = np.minimum(stamps[known] >> np.uint64(_SHIFT), np.iinfo(np.int32).max)
        if tgids is not None and comms is not None:
            process[allocated] = self._numbers(tgids[allocated], comms[allocated])
        return process, seconds

    def _numbers(
        self, tgids: npt.NDArray[np.generic], comms: npt.NDArray[np.generic]
    ) -> npt.NDArray[np.int32]:
        """The number of each process: of each pair of tgid and comm."""
        pairs = np.empty(len(tgids), [("tgid", np.int64), ("comm", comms.dtype)])
        pairs["tgid"], pairs["comm"] = tgids, comms
        edge = np.ones(len(pairs), np.bool_)
        edge[1:] = (pairs["tgid"][1:] != pairs["tgid"][:-1]) | (pairs["comm"][1:] != pairs["comm"][:-1])
        first = np.flatnonzero(edge)
        numbers = [
            self._processes.setdefault((tgid, comm.partition(b"\0")[0]), len(self._processes))
            for tgid, comm in zip(pairs["tgid"][first].tolist(), pairs["comm"][first].tolist(), strict=True)
        ]
        return np.repeat(np.array(numbers, np.int32), np.diff(np.append(first, len(pairs))))

    def frame(self) -> pl.DataFrame:
        """``pfn``, ``n``; ``node``, ``zone`` (numbers), ``block`` (order of the pageblocks), ``mobility``
        (type of the pageblock; null: unknown), ``process`` (pid and name of who allocated; null: not
        recorded), ``age`` (one of :data:`AGES`; null: not recorded), by PFN."""
        if not self._parts:
            return pl.DataFrame(schema=_SCHEMA)
        runs = pl.concat(self._parts)
        newest = int(str(runs.get_column("seconds").max() or 0))
        second = (1 << _SHIFT) / 1e9
        ages = np.array(AGES)
        step = np.searchsorted(ages, (newest - runs.get_column("seconds").to_numpy()) * second, "right") - 1
        aged = runs.with_columns(
            seconds=pl.when(pl.col("seconds") < 0).then(-1).otherwise(pl.Series(ages[step])).cast(pl.Int32)
        )
        return self._named(joined_runs(aged, _KEYS))

    def _named(self, runs: pl.DataFrame) -> pl.DataFrame:
        processes = [f"pid {tgid} ({escape(comm, '()')})" for tgid, comm in self._processes]
        types = [self._names.name(number) for number in range(_NO_TYPE)]
        order = self._blocks.order if self._blocks else None
        named = runs.with_columns(
            pl.lit(order, pl.Int8).alias("block"),
            _name(types, pl.col("type").cast(pl.Int32)).alias("mobility"),
            _name(processes, pl.col("process")).alias("process"),
            pl.when(pl.col("seconds") >= 0).then("seconds").cast(pl.Int32).alias("age"),
        )
        return named.select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())


def joined_runs(runs: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """*runs* (``pfn``, ``n``, *keys*; by PFN) with neighbours that agree in all *keys* made one."""
    apart = pl.col("pfn") != (pl.col("pfn") + pl.col("n")).shift()
    differs = [~pl.col(key).eq_missing(pl.col(key).shift()) for key in keys]
    at = pl.any_horizontal(apart, *differs).fill_null(True).cum_sum().alias("_run")
    firsts = [pl.col(name).first() for name in runs.columns if name != "n"]
    joined = runs.with_columns(at).group_by("_run", maintain_order=True).agg(*firsts, pl.col("n").sum())
    return joined.select(runs.columns)


def _name(names: list[str], number: pl.Expr) -> pl.Expr:
    """The name of each *number*; null for one that has none."""
    return number.replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String)
