# SPDX-License-Identifier: LGPL-2.1-or-later
"""Only some of the pages: one filter language for scans, snapshots and texts.

A :class:`Filter` is what was asked for. It becomes conditions on single columns
(:meth:`Filter.conditions`), and :func:`matching` says which rows of a frame meet them all. The frame may be
any that has pages in rows: what it says by a key only (an owner's id, a stack's handle) is looked up once per
distinct key, so that texts are compared a few thousand times, however many pages there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

import polars as pl

from pageowner.errors import SourceError

Lookup = tuple[str, Callable[[pl.Series], pl.DataFrame]]
"""A column of a frame with keys, and what gives, for some of these, a table: the key's column and others."""


@dataclass(frozen=True)
class Filter:
    """What is wanted: of each member that is not empty, any of its values. Texts are globs (``*``, ``?``).

    ``kinds``: ``SLAB_PAGE`` or ``slab``; ``owners``: names as in the owners table; ``pids``, ``tgids``,
    ``comms``: who allocated; ``cgroups``: path, or its end; ``gfps``: flag names, all of those joined by
    ``|``; ``migrate_types``: of the pageblock; ``orders``, ``pfns``: (first, last); ``older`` and
    ``younger``: seconds before the last recorded allocation. What is not recorded matches nothing.
    """

    kinds: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    tgids: tuple[int, ...] = ()
    comms: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()
    nodes: tuple[int, ...] = ()
    zones: tuple[str, ...] = ()
    orders: tuple[tuple[int, int], ...] = ()
    gfps: tuple[str, ...] = ()
    migrate_types: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    pfns: tuple[tuple[int, int], ...] = ()
    cmas: tuple[str, ...] = ()
    older: float | None = None
    younger: float | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) not in ((), None) for field in fields(self))

    def __str__(self) -> str:
        given = ((field.name, getattr(self, field.name)) for field in fields(self))
        return "; ".join(f"{name}: {_told(value)}" for name, value in given if value not in ((), None))

    @property
    def by_age(self) -> bool:
        """Whether ``now`` matters to :meth:`conditions`."""
        return self.older is not None or self.younger is not None

    @property
    def reach(self) -> tuple[int, int]:
        """The first and the last page frame that can match."""
        if not self.pfns:
            return 0, 1 << 52
        return min(first for first, _ in self.pfns), max(last for _, last in self.pfns)

    @property
    def edges(self) -> list[int]:
        """Page frames before which a run of pages must end, so that it matches as a whole or not at all."""
        return sorted({edge for first, last in self.pfns for edge in (first, last + 1)})

    def conditions(self, now: int = 0) -> list[tuple[str, pl.Expr]]:
        """(column, condition on that column), of which all must hold.

        Columns: ``word``, ``owner``, ``pid``, ``tgid``, ``comm``, ``cgroup``, ``node``, ``zone_name``,
        ``order``, ``gfp`` (names joined by ``|``), ``migrate_type``, ``functions`` (lines), ``cma`` (name),
        ``pfn`` (with ``n``), ``youngest_ns`` and ``oldest_ns`` (0: not recorded; the same for one record).

        :param now: what ages count back from, in ns.
        """
        return [(name, each) for name, each in self._conditions(now) if each is not None]

    def _conditions(self, now: int) -> Iterator[tuple[str, pl.Expr | None]]:
        words = tuple(kind if "_" in kind else f"{kind}_PAGE" for kind in map(str.upper, self.kinds))
        yield "word", _globs("word", words)
        yield "owner", _globs("owner", self.owners)
        for name, numbers in (("pid", self.pids), ("tgid", self.tgids), ("node", self.nodes)):
            yield name, pl.col(name).is_in(numbers) if numbers else None
        yield "comm", _globs("comm", self.comms)
        paths = [rf"(?s)\A(?:.*/)?{_regex(glob, '.')}\z" for glob in self.cgroups]
        yield "cgroup", _contains("cgroup", paths)
        yield "zone_name", _globs("zone_name", self.zones)
        yield "order", _any(pl.col("order").is_between(*order) for order in self.orders)
        yield "gfp", _any(_all_flags(glob) for glob in self.gfps)
        yield "migrate_type", _globs("migrate_type", self.migrate_types)
        names = [rf"(?m)^{_regex(name)}(?: \[[^\n]*\])?$" for name in self.functions]
        yield "functions", _contains("functions", names)
        modules = [rf"(?m) \[{_regex(name)}\]$" for name in self.modules]
        yield "functions", _contains("functions", modules)
        yield "cma", _globs("cma", self.cmas)
        end = pl.col("pfn") + pl.col("n")
        yield "pfn", _any((pl.col("pfn") <= last) & (end > first) for first, last in self.pfns)
        youngest, oldest = pl.col("youngest_ns"), pl.col("oldest_ns")
        if self.older is not None:
            yield "youngest_ns", (youngest > 0) & (youngest <= now - self.older * 1e9)
        if self.younger is not None:
            yield "oldest_ns", (oldest > 0) & (oldest > now - self.younger * 1e9)


def _told(value: object) -> str:
    """``a, b``, ``3-9`` or ``5.0``: the values of one member."""
    if not isinstance(value, tuple):
        return str(value)
    return ", ".join("-".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in value)


_OPTION = {
    "pid": "--pid", "tgid": "--tgid", "comm": "--comm", "cgroup": "--cgroup", "gfp": "--gfp", "cma": "--cma",
    "migrate_type": "--migrate-type", "pfn": "--pfn", "functions": "--function and --module",
    "youngest_ns": "--older", "oldest_ns": "--younger", "order": "--order", "node": "--node",
    "zone_name": "--zone", "owner": "--owner", "word": "--kind",
}  # fmt: skip


def matching(
    frame: pl.DataFrame, conditions: Iterable[tuple[str, pl.Expr]], lookups: Mapping[str, Lookup]
) -> pl.Series:
    """Which rows of *frame* meet all of *conditions*, Boolean.

    :param lookups: for columns that the frame has by key only.
    :raises SourceError: when a condition is about what neither has.
    """
    kept = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    for column, condition in conditions:
        if column in frame.columns:
            kept = kept & frame.select(condition.fill_null(False).alias(column)).to_series()
        elif column in lookups:
            key, lookup = lookups[column]
            good = lookup(frame.get_column(key).drop_nulls().unique()).filter(condition.fill_null(False))
            kept = kept & frame.get_column(key).is_in(good.get_column(key).implode()).fill_null(False)
        else:
            raise SourceError(f"this source does not say what {_OPTION[column]} asks for")
    return kept


def zone_names(zones: pl.DataFrame) -> pl.DataFrame:
    """``place`` (node * 256 + number of the zone), ``zone_name``."""
    place = pl.col("node").cast(pl.Int64) * 256 + pl.col("zone_index").cast(pl.Int64)
    return zones.select(place.alias("place"), pl.col("zone").alias("zone_name"))


def _globs(column: str, globs: Iterable[str]) -> pl.Expr | None:
    return _contains(column, [rf"(?s)\A{_regex(glob, '.')}\z" for glob in globs])


def _contains(column: str, patterns: Iterable[str]) -> pl.Expr | None:
    return _any(pl.col(column).str.contains(pattern) for pattern in patterns)


def _all_flags(globs: str) -> pl.Expr:
    """All flags of ``GFP_KERNEL|__GFP_ZERO``, each a glob."""
    wanted = [rf"(?:\A|\|){_regex(glob, '[^|]')}(?:\||\z)" for glob in globs.split("|")]
    return pl.all_horizontal([pl.col("gfp").str.contains(pattern) for pattern in wanted])


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr | None:
    given = list(conditions)
    return pl.any_horizontal(given) if given else None


def _regex(glob: str, any_character: str = r"[^\n]") -> str:
    """The regular expression (of Rust's kind) that matches what *glob* does."""
    wild = {"*": f"{any_character}*", "?": any_character}
    return "".join(wild.get(c) or (c if c.isalnum() and c.isascii() else rf"\x{{{ord(c):x}}}") for c in glob)
