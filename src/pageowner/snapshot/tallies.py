# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages added up by something else than their owner, while sections stream by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import polars as pl

from pageowner.analyses.groups import with_kinds
from pageowner.errors import LayoutError
from pageowner.kernel import page_type
from pageowner.kernel.mapping import MIGRATING, SPECIAL
from pageowner.kernel.memcg import Memcgs
from pageowner.kernel.page_flags import read_page_flags
from pageowner.kernel.path import Paths
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.snapshot.claims import UNCLAIMED
from pageowner.snapshot.obstacles import ByObstacle, ByUnit
from pageowner.snapshot.places import ByPlace
from pageowner.snapshot.rows import read_cgroups
from pageowner.snapshot.scan import Scan, SectionScan


class Tally(Protocol):
    """Adds up one section after the other; then gives a table, most pages first."""

    def add(self, section: SectionScan) -> None: ...

    def frame(self) -> pl.DataFrame: ...


class ByProcess:
    """RSS, PSS and USS of each address space, from the page tables.

    As in ``/proc/PID/smaps_rollup``: special mappings (the zero page, PFNMAP) count nowhere, and
    hugetlb pages are counted apart.
    """

    COLUMNS = ("rss", "pss", "uss", "hugetlb")

    def __init__(self, scan: Scan) -> None:
        self._memory: ProcessMemory = scan.kernel.memo(read_process_memory)
        self._sums = np.zeros((len(self.COLUMNS), len(self._memory.mms)), np.float64)

    def add(self, section: SectionScan) -> None:
        start, n = section.pages.section.start, section.pages.section.n
        mappings = self._memory.mappings
        count = mappings.mapcounts(start, n)
        huge = np.append(section.pages.heads.type == page_type.HUGETLB, False)[section.pages.head]
        huge &= (counted := section.layer != UNCLAIMED)
        plain = counted & ~huge
        weights = (plain, plain / np.maximum(count, 1), plain & (count == 1), huge)
        runs = mappings.of_blocks(np.array([start]), np.array([n]))
        runs = runs.take(np.flatnonzero((runs.flags & (SPECIAL | MIGRATING)) == 0))
        low = runs.pfn - start
        for row, weight in enumerate(weights):
            upto = np.concatenate(([0.0], np.cumsum(weight)))
            amount = (upto[low + runs.n] - upto[low]) * runs.repeat
            self._sums[row] += np.bincount(runs.mm, weights=amount, minlength=self._sums.shape[1])

    def frame(self) -> pl.DataFrame:
        """``process``; ``rss``, ``pss`` (rounded), ``uss``, ``hugetlb`` in pages: a row per address space."""
        columns = {
            name: np.rint(row).astype(np.int64) for name, row in zip(self.COLUMNS, self._sums, strict=True)
        }
        names = [self._memory.name(mm) for mm in range(len(self._memory.mms))]
        frame = pl.DataFrame({"process": names, **columns})
        return frame.filter(pl.col("rss") + pl.col("hugetlb") > 0).sort(
            "pss", "process", descending=[True, False]
        )


class ByCgroup:
    """Pages charged to each memory cgroup, by kind."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        try:
            self._memcgs = Memcgs(scan.kernel)
        except LookupError as error:
            raise LayoutError(
                "the kernel is built without CONFIG_MEMCG: there are no cgroups to sum by"
            ) from error
        self._parts: list[pl.DataFrame] = []

    def add(self, section: SectionScan) -> None:
        heads = section.pages.heads
        if "memcg" not in (heads.rows.dtype.names or ()):
            return
        word = np.append(np.ascontiguousarray(heads.rows["memcg"]), np.uint64(0))[section.pages.head]
        charged = np.flatnonzero((word != 0) & (section.layer != UNCLAIMED))
        frame = pl.DataFrame({"word": word[charged], "layer": section.layer[charged]})
        self._parts.append(frame.group_by("word", "layer").agg(pl.len().cast(pl.Int64).alias("pages")))

    def frame(self) -> pl.DataFrame:
        """``cgroup`` (path), ``state`` (online or dying), ``pages``, ``pinned_by`` (its kinds, most first).

        Slab objects are charged one by one, not by page, and are not counted here.
        """
        schema = {"word": pl.UInt64, "layer": pl.UInt8, "pages": pl.Int64}
        parts = pl.concat([pl.DataFrame(schema=schema), *self._parts])
        names = read_cgroups(self._scan.kernel, parts.get_column("word")).rename({"memcg": "word"})
        kinds = _kind_names(self._scan)
        joined = parts.join(names, on="word").join(kinds, on="layer", how="left")
        by_kind = joined.group_by("cgroup", "state", "kind").agg(pl.col("pages").sum())
        by_kind = by_kind.sort("pages", "kind", descending=[True, False])
        return (
            by_kind.group_by("cgroup", "state", maintain_order=True)
            .agg(pl.col("pages").sum(), pl.format("{} {}", "kind", "pages").str.join(", ").alias("pinned_by"))
            .sort("pages", "cgroup", descending=[True, False])
        )


class ByNode:
    """Pages of each kind on each NUMA node."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._flags = read_page_flags(scan.kernel)
        self._parts: list[pl.DataFrame] = []

    def add(self, section: SectionScan) -> None:
        counted = section.layer != UNCLAIMED
        node = self._flags.node(section.pages.flags[counted]).astype(np.int32)
        frame = pl.DataFrame({"node": node, "layer": section.layer[counted]})
        self._parts.append(frame.group_by("node", "layer").agg(pl.len().cast(pl.Int64).alias("pages")))

    def frame(self) -> pl.DataFrame:
        """``node``, ``kind``, ``pages``."""
        schema = {"node": pl.Int32, "layer": pl.UInt8, "pages": pl.Int64}
        parts = pl.concat([pl.DataFrame(schema=schema), *self._parts])
        named = parts.join(_kind_names(self._scan), on="layer", how="left")
        summed = named.group_by("node", "kind").agg(pl.col("pages").sum())
        return summed.sort("node", "pages", "kind", descending=[False, True, False])


class ByMount:
    """Page-cache pages by the file system that they belong to."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._parts: list[pl.DataFrame] = []

    def add(self, section: SectionScan) -> None:
        rows = section.owner_rows()
        for number in section.owner:
            owners = self._scan.by_number(number).owners.frame
            if "dev" in owners.columns:
                mine = rows[section.layer == number]
                places = owners.select("fstype", "major", "minor")[mine]
                summed = places.group_by("fstype", "major", "minor").agg(
                    pl.len().cast(pl.Int64).alias("pages")
                )
                self._parts.append(
                    summed.with_columns(pl.lit(self._scan.by_number(number).word).alias("kind"))
                )

    def frame(self) -> pl.DataFrame:
        """``mount`` (its points; just the device where it has none), ``pages``, ``kinds`` (most first)."""
        schema = {
            "fstype": pl.String,
            "major": pl.UInt32,
            "minor": pl.UInt32,
            "pages": pl.Int64,
            "kind": pl.String,
        }
        parts = pl.concat([pl.DataFrame(schema=schema), *self._parts])
        dev = (pl.col("major") * (1 << 20) + pl.col("minor")).cast(pl.Int64).alias("dev")
        name = pl.format("{} {}:{}", "fstype", "major", "minor")
        named = parts.with_columns(dev).join(self._mount_points(), on="dev", how="left")
        mount = pl.when(pl.col("path").is_null()).then(name).otherwise(pl.col("path") + " (" + name + ")")
        return with_kinds(named.select(mount.alias("mount"), "kind", "pages"), "mount", "kinds")

    def _mount_points(self) -> pl.DataFrame:
        table = self._scan.kernel.memo(Paths).table.select(pl.col("dev").cast(pl.Int64), "path")
        return table.group_by("dev", maintain_order=True).agg(
            pl.col("path").unique(maintain_order=True).str.join(", ")
        )


def _kind_names(scan: Scan) -> pl.DataFrame:
    rows = [(run.number, run.word) for run in scan.all_runs]
    return pl.DataFrame(rows, schema={"layer": pl.UInt8, "kind": pl.String}, orient="row")


TALLIES: dict[str, Callable[[Scan], Tally]] = {
    "process": ByProcess,
    "cgroup": ByCgroup,
    "node": ByNode,
    "mount": ByMount,
    "place": ByPlace,
    "obstacle": ByObstacle,
    "unit": ByUnit,
}
"""What a scan can count beside owners: ``summary --by``, and where pages lie."""
