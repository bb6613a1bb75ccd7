# SPDX-License-Identifier: LGPL-2.1-or-later
"""Only some of the pages: by kind, owner, process, place, order, what is in the stack, age."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import polars as pl

from pageowner.analyses.groups import Tables


@dataclass(frozen=True)
class Filter:
    """What is wanted: of each member that is not empty, any of its values. Texts are globs (``*``, ``?``).

    ``kinds``: ``SLAB_PAGE`` or ``slab``; ``orders``: (first, last); ``older`` and ``younger``: seconds before
    the last recorded allocation; pages whose allocation is not recorded are neither.
    """

    kinds: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    comms: tuple[str, ...] = ()
    nodes: tuple[int, ...] = ()
    zones: tuple[str, ...] = ()
    orders: tuple[tuple[int, int], ...] = ()
    functions: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    older: float | None = None
    younger: float | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) not in ((), None) for field in fields(self))


def filtered(tables: Tables, zones: pl.DataFrame, wanted: Filter) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The ``usage`` and ``owners`` of the pages that are *wanted*.

    :param zones: names the numbers of zones.
    """
    usage = tables.usage
    now = usage.get_column("youngest_ns").max()
    named = usage.join(tables.owners.drop("pages"), on="id", how="left", maintain_order="left")
    stacks = tables.stacks.select("stack", "functions")
    named = named.join(stacks, on="stack", how="left", maintain_order="left")
    places = zones.select(
        pl.col("node").cast(pl.Int16), pl.col("zone_index").cast(pl.Int8).alias("zone"), zone_name="zone"
    ).unique(["node", "zone"])
    named = named.join(places, on=["node", "zone"], how="left", maintain_order="left")
    kept = named.filter(*_conditions(wanted, int(str(now or 0)))).select(usage.columns)
    pages = kept.group_by("id").agg(pl.col("pages").sum())
    owners = tables.owners.drop("pages").join(pages, on="id").select(tables.owners.columns)
    return kept, owners.sort("pages", "word", "owner", descending=[True, False, False])


def _conditions(wanted: Filter, now: int) -> list[pl.Expr]:
    words = tuple(kind if "_" in kind else f"{kind}_PAGE" for kind in map(str.upper, wanted.kinds))
    found = [
        _matches("word", _alternatives(words)),
        _matches("owner", _alternatives(wanted.owners)),
        _matches("owner", [rf"\bpid {pid} \(" for pid in wanted.pids]),
        _matches("owner", [rf"\bpid -?[0-9]+ \({_regex(comm, '[^()]')}\)" for comm in wanted.comms]),
        pl.col("node").is_in(wanted.nodes) if wanted.nodes else None,
        _matches("zone_name", _alternatives(wanted.zones)),
        _any(pl.col("order").is_between(*order) for order in wanted.orders),
        _matches("functions", [rf"(?m)^{_regex(name)}(?: \[[^\n]*\])?$" for name in wanted.functions]),
        _matches("functions", [rf"(?m) \[{_regex(name)}\]$" for name in wanted.modules]),
    ]
    recorded = pl.col("youngest_ns") > 0
    if wanted.older is not None:
        found.append(recorded & (pl.col("youngest_ns") <= now - wanted.older * 1e9))
    if wanted.younger is not None:
        found.append(recorded & (pl.col("oldest_ns") > now - wanted.younger * 1e9))
    return [condition.fill_null(False) for condition in found if condition is not None]


def _matches(column: str, patterns: Iterable[str]) -> pl.Expr | None:
    return _any(pl.col(column).str.contains(pattern) for pattern in patterns)


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr | None:
    given = list(conditions)
    return pl.any_horizontal(given) if given else None


def _alternatives(globs: Iterable[str]) -> list[str]:
    return [rf"(?s)\A{_regex(glob, '.')}\z" for glob in globs]


def _regex(glob: str, any_character: str = r"[^\n]") -> str:
    """The regular expression (of Rust's kind) that matches what *glob* does."""
    wild = {"*": f"{any_character}*", "?": any_character}
    return "".join(wild.get(c) or (c if c.isalnum() and c.isascii() else rf"\x{{{ord(c):x}}}") for c in glob)
