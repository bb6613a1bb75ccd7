# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pages of a section in runs that are alike in all that filters ask for, as numbers; names by lookup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.analyses.filters import Lookup, zone_names
from pageowner.escape import escape
from pageowner.kernel.cma import read_cma
from pageowner.kernel.gfp import read_gfp
from pageowner.kernel.memcg import Memcgs
from pageowner.kernel.migratetype import read_migrate_types
from pageowner.kernel.page_flags import read_page_flags
from pageowner.kernel.page_owner import PageOwner
from pageowner.kernel.pageblock import read_pageblocks
from pageowner.kernel.record_table import comm_text
from pageowner.kernel.target import Kernel
from pageowner.kernel.zone import read_zones
from pageowner.snapshot.claims import UNCLAIMED
from pageowner.snapshot.lines import owner_ids
from pageowner.snapshot.scan import Scan, SectionScan
from pageowner.snapshot.stack_names import StackNames

Arrays = dict[str, npt.NDArray[Any]]
_RECORDED: dict[str, type[np.generic]] = {
    "handle": np.uint32,
    "gfp_mask": np.uint32,
    "pid": np.int32,
    "tgid": np.int32,
    "ts_nsec": np.uint64,
}


class Rows:
    """Makes the rows of sections, and names what their numbers stand for; one object serves a scan."""

    def __init__(self, scan: Scan, edges: Sequence[int] = ()) -> None:
        """:param edges: page frames at which a run must begin anew."""
        self._scan, kernel = scan, scan.kernel
        self._flags, self._blocks = read_page_flags(kernel), read_pageblocks(kernel, scan.sections)
        self._has = scan.page_owner.has if isinstance(scan.page_owner, PageOwner) else frozenset()
        self._cma = kernel.memo(read_cma)
        ends = (self._cma["pfn"] + self._cma["n"]).to_list()
        self._edges = np.array([*edges, *self._cma["pfn"].to_list(), *ends], np.int64)

    def of(self, section: SectionScan, starts: npt.NDArray[np.bool_] | None = None) -> pl.DataFrame:
        """The rows of *section*, by PFN; pages that nobody owns are left out.

        :param starts: pages at which a row must begin, too, bool[n].
        :returns: ``pfn``, ``n``, ``id`` (see ``owner_ids``), ``unit`` (order of the folio or free block),
            ``order`` (of the record; else the same), ``node``, ``place`` (node and zone), ``block_type``,
            ``memcg`` (the folio's word), ``cma`` (name); and of the record, null without one: ``handle``,
            ``gfp_mask``, ``pid``, ``tgid``, ``comm``, ``youngest_ns`` and ``oldest_ns``. What this kernel
            does not keep is left out.
        """
        arrays = self._arrays(section)
        first = self._first(section, arrays)
        if starts is not None:
            first |= starts
        at = np.flatnonzero(first & (section.layer != UNCLAIMED))
        ends = np.append(np.flatnonzero(first), len(first))
        n = ends[np.searchsorted(ends, at, side="right")] - at
        frame = pl.DataFrame({"pfn": at + section.pages.section.start, "n": n} | self._taken(arrays, at))
        return self._with_cma(self._with_record(section, frame, at))

    def at(self, section: SectionScan, at: npt.NDArray[Any]) -> pl.DataFrame:
        """The same columns, but ``pfn`` and ``n``, of the pages *at* these places in the section."""
        taken = self._taken(self._arrays(section), at)
        frame = pl.DataFrame({"pfn": at + section.pages.section.start} | taken)
        return self._with_cma(self._with_record(section, frame, at)).drop("pfn")

    def _taken(self, arrays: Arrays, at: npt.NDArray[Any]) -> Arrays:
        return {name: array[at] for name, array in arrays.items()}

    def _arrays(self, section: SectionScan) -> Arrays:
        """What runs are alike in, an array per column, a number per page."""
        pages, records = section.pages, section.records
        node, zone = self._flags.node(pages.flags), self._flags.zone(pages.flags)
        unit = np.log2(np.append(pages.heads.n, 1)).astype(np.int32)[pages.head]
        arrays: Arrays = {
            "id": owner_ids(section),
            "node": node.astype(np.int32),
            "place": (node << np.uint64(8) | zone).astype(np.int64),
            "block_type": self._blocks.page_types(pages.section),
            "unit": unit,
        }
        if "memcg" in (pages.heads.rows.dtype.names or ()):
            words = np.ascontiguousarray(pages.heads.rows["memcg"])
            arrays["memcg"] = np.append(words, np.uint64(0))[pages.head]
        allocated = records.allocated if records is not None else np.zeros(len(unit), np.bool_)
        for name, kind in _RECORDED.items():
            if name in self._has:
                arrays[name] = np.zeros(len(unit), kind)
                if records is not None:
                    arrays[name][allocated] = records.rows[name][allocated]
        order = unit if records is None else np.where(allocated, records.rows["order"].astype(np.int32), unit)
        return arrays | {"order": order, "recorded": allocated}

    def _first(self, section: SectionScan, arrays: Arrays) -> npt.NDArray[np.bool_]:
        """Pages that differ from the one before them."""
        start, n = section.pages.section.start, section.pages.section.n
        first = np.zeros(n, np.bool_)
        first[0] = True
        for array in (*arrays.values(), *self._comms(section)):
            first[1:] |= array[1:] != array[:-1]
        edges = self._edges[(self._edges > start) & (self._edges < start + n)] - start
        first[edges] = True
        return first

    def _comms(self, section: SectionScan) -> list[npt.NDArray[Any]]:
        comms = None if section.records is None else section.records.column("comm")
        return [] if comms is None else [np.ascontiguousarray(comms)]

    def _with_record(self, section: SectionScan, frame: pl.DataFrame, at: npt.NDArray[Any]) -> pl.DataFrame:
        """Null instead of 0 where nothing is recorded; the task's name; both times."""
        if "comm" in self._has:
            comms = None if section.records is None else section.records.rows["comm"][at]
            names = pl.Series("comm", [None], pl.String).new_from_index(0, len(at)) if comms is None else (
                comm_text(comms)
            )  # fmt: skip
            frame = frame.with_columns(names.alias("comm"))
        told = [name for name in (*_RECORDED, "comm") if name in frame.columns]
        frame = frame.with_columns(pl.when("recorded").then(pl.col(told))).drop("recorded")
        if "ts_nsec" not in told:
            return frame
        return frame.with_columns(youngest_ns="ts_nsec", oldest_ns="ts_nsec").drop("ts_nsec")

    def _with_cma(self, frame: pl.DataFrame) -> pl.DataFrame:
        if not self._cma.height:
            return frame.with_columns(pl.lit(None, pl.String).alias("cma"))
        areas = self._cma.select(start="pfn", size="n", cma="name")
        found = frame.join_asof(areas, left_on="pfn", right_on="start", strategy="backward")
        inside = pl.col("pfn") < pl.col("start") + pl.col("size")
        return found.with_columns(pl.when(inside).then("cma").alias("cma")).drop("start", "size")

    def lookups(self) -> dict[str, Lookup]:
        """What the numbers stand for, see :func:`pageowner.analyses.filters.matching`."""
        kernel = self._scan.kernel
        found: dict[str, Lookup] = {
            "word": ("id", self._owners),
            "owner": ("id", self._owners),
            "zone_name": ("place", lambda keys: zone_names(read_zones(kernel))),
            "migrate_type": ("block_type", lambda keys: migrate_types(kernel)),
        }
        if self._has:
            found["functions"] = ("handle", kernel.memo(StackNames).table)
            found["gfp"] = ("gfp_mask", lambda keys: _gfps(kernel, keys))
        if "memcg" in (self._scan.layout.dtype.names or ()):
            found["cgroup"] = ("memcg", lambda keys: _cgroups(kernel, keys))
        return found

    def _owners(self, ids: pl.Series) -> pl.DataFrame:
        """``id``, ``word``, ``owner``: by the numbers of layers and rows."""
        parts = [pl.DataFrame(schema={"id": pl.Int64, "word": pl.String, "owner": pl.String})]
        layers = ids // (1 << 32)
        for number in layers.unique().to_list():
            run, mine = self._scan.by_number(number), ids.filter(layers == number)
            owners = run.owners.frame.get_column("owner").gather(mine % (1 << 32) - 1)
            columns = {"id": mine, "word": pl.repeat(run.word, len(mine), eager=True), "owner": owners}
            parts.append(pl.DataFrame(columns))
        return pl.concat(parts)


def migrate_types(kernel: Kernel) -> pl.DataFrame:
    """``block_type`` (number), ``migrate_type`` (name)."""
    names = read_migrate_types(kernel).names
    return pl.DataFrame(
        {"block_type": range(len(names)), "migrate_type": names},
        schema={"block_type": pl.UInt8, "migrate_type": pl.String},
    )


def _gfps(kernel: Kernel, masks: pl.Series) -> pl.DataFrame:
    gfp = read_gfp(kernel)
    texts = pl.Series("gfp", [gfp.names.text(mask) for mask in masks.to_list()], pl.String)
    return pl.DataFrame([masks.alias("gfp_mask"), texts])


def _cgroups(kernel: Kernel, words: pl.Series) -> pl.DataFrame:
    """``memcg`` (word), ``cgroup`` (path), of pages that are charged as a whole."""
    return read_cgroups(kernel, words).select("memcg", "cgroup")


def read_cgroups(kernel: Kernel, words: pl.Series) -> pl.DataFrame:
    """``memcg`` (word), ``cgroup`` (path), ``state`` (online or dying) of *words* that charge whole pages.

    Slab objects are charged one by one: those words are left out.

    :raises LookupError: without CONFIG_MEMCG.
    """
    memcgs = Memcgs(kernel)
    charges = memcgs.charges(words.to_numpy())
    known = memcgs.get(charges.memcg)
    rows = [
        (word, escape(known[m].path), "online" if known[m].online else "dying")
        for word, m, slab in zip(
            charges.word.tolist(), charges.memcg.tolist(), charges.slab.tolist(), strict=True
        )
        if m in known and not slab
    ]
    schema = {"memcg": pl.UInt64, "cgroup": pl.String, "state": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")
