# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory watched over time: rows of one grouping, narrowed step by step, compared between moments.

Moments of one boot join by exact keys (owners with their process ids, stacks by functions), so that what one
sees come and go is what came and went. For other boots and kernels there is :mod:`pageowner.analyses.diff`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from pageowner.analyses.groups import Tables
from pageowner.analyses.names import short_stack

NO_STACK = "(not recorded)"
ROW_SCHEMA = {
    "key": pl.String,
    "kind": pl.String,
    "name": pl.String,
    "note": pl.String,
    "pages": pl.Int64,
    "rss": pl.Int64,
    "uss": pl.Int64,
}
_MODULE = pl.col("functions").str.extract(r"\[([^\]]+)\]").fill_null("kernel")


@dataclass(frozen=True)
class Narrow:
    """Only the pages of one kind (``word``), one owner (``id``), one ``stack``, one ``node``, one ``module``
    (the innermost of the stack, "kernel" for none), or whose owner is the process ``pid``; None: of all."""

    word: str | None = None
    id: int | None = None
    stack: int | None = None
    node: int | None = None
    module: str | None = None
    pid: int | None = None

    def __bool__(self) -> bool:
        return self != Narrow()


def rows(tables: Tables, by: str, where: Narrow) -> pl.DataFrame:
    """Pages by *by*, one of :data:`GROUPS`, of those that *where* leaves, most first.

    :returns: ``key`` (the same at every moment), ``kind``, ``name``, ``note`` (what more there is to say of
        it), ``pages``, and for processes ``rss`` and ``uss``, in pages (``pages`` is their PSS).
    :raises KeyError: when the tables do not have that grouping.
    """
    found = GROUPS[by](tables, where)
    absent = ROW_SCHEMA.keys() - set(found.columns)
    lacking = [pl.lit(None, ROW_SCHEMA[name]).alias(name) for name in sorted(absent)]
    ordered = found.with_columns(lacking).select(pl.col(n).cast(kind) for n, kind in ROW_SCHEMA.items())
    return ordered.sort("pages", "kind", "name", "key", descending=[True, False, False, False])


def compared(now: pl.DataFrame, then: pl.DataFrame, before: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """*now* (see :func:`rows`) with ``change`` (pages since *then*) and ``rate`` (pages per second since
    *before*, which was *seconds* ago; null when 0). Rows of *then* that are gone have 0 pages."""
    gone = then.join(now, on="key", how="anti").with_columns(
        pages=pl.lit(0, pl.Int64), rss=pl.lit(None, pl.Int64), uss=pl.lit(None, pl.Int64)
    )
    old = then.select("key", then="pages")
    last = before.select("key", before="pages")
    joined = pl.concat([now, gone]).join(old, on="key", how="left").join(last, on="key", how="left")
    change = pl.col("pages") - pl.col("then").fill_null(0)
    rate = (pl.col("pages") - pl.col("before").fill_null(0)) / seconds if seconds > 0 else pl.lit(None)
    return joined.with_columns(change=change, rate=rate.cast(pl.Float64)).drop("then", "before")


def trend(keys: pl.Series, moments: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """``key`` and ``trend``: the pages of each of *keys* at each of *moments* (lists), 0 where it was not."""
    frame = keys.alias("key").to_frame()
    for at, moment in enumerate(moments):
        column = moment.select("key", pl.col("pages").alias(f"s{at}"))
        frame = frame.join(column, on="key", how="left", maintain_order="left")
    columns = [pl.col(f"s{at}").fill_null(0) for at in range(len(moments))]
    return frame.select("key", pl.concat_list(columns).alias("trend"))


def matching(frame: pl.DataFrame, text: str) -> pl.DataFrame:
    """The rows that have *text* in their kind, name or note, in whatever case."""
    texts = [pl.col(name).str.to_lowercase() for name in ("kind", "name", "note")]
    found = [each.str.contains(text.lower(), literal=True).fill_null(False) for each in texts]
    return frame.filter(pl.any_horizontal(found))


def _usage(tables: Tables, where: Narrow) -> pl.DataFrame:
    """The usage table, with ``word`` and ``owner``, of what *where* leaves."""
    usage = tables.usage.join(tables.owners.select("id", "word", "owner"), on="id")
    for name in ("word", "id", "stack", "node"):
        value = getattr(where, name)
        if value is not None:
            usage = usage.filter(pl.col(name) == value)
    if where.pid is not None:
        usage = usage.filter(pl.col("owner").str.contains(rf"\bpid {where.pid} \("))
    if where.module is not None:
        named = tables.stacks.select("stack", _MODULE.alias("module"))
        usage = usage.join(named, on="stack").filter(pl.col("module") == where.module)
    return usage


def _by_kind(tables: Tables, where: Narrow) -> pl.DataFrame:
    count = pl.col("id").n_unique()
    owners = pl.when(count > 1).then(pl.format("{} owners", count)).otherwise(pl.lit("")).alias("note")
    summed = _usage(tables, where).group_by("word").agg(pl.col("pages").sum(), owners)
    return summed.select("pages", "note", key="word", name="word")


def _by_owner(tables: Tables, where: Narrow) -> pl.DataFrame:
    summed = _usage(tables, where).group_by("id", "word", "owner").agg(pl.col("pages").sum())
    return summed.select("pages", key=pl.col("id").cast(pl.String), kind="word", name="owner")


def _by_stack(tables: Tables, where: Narrow) -> pl.DataFrame:
    summed = _with_kinds(_usage(tables, where), "stack")
    functions = tables.stacks.select("stack", short_stack(pl.col("functions")).alias("name"))
    named = summed.join(functions, on="stack", how="left")
    return named.select(
        "pages", "note", key=pl.col("stack").cast(pl.String), name=pl.col("name").fill_null(NO_STACK)
    )


def _by_node(tables: Tables, where: Narrow) -> pl.DataFrame:
    summed = _with_kinds(_usage(tables, where), "node")
    key = pl.col("node").cast(pl.String)
    return summed.select("pages", "note", key=key, name=pl.format("node {}", "node"))


def _by_module(tables: Tables, where: Narrow) -> pl.DataFrame:
    recorded = _usage(tables, where).filter(pl.col("stack") != 0)
    if "module" not in recorded.columns:
        recorded = recorded.join(tables.stacks.select("stack", _MODULE.alias("module")), on="stack")
    return _with_kinds(recorded, "module").select("pages", "note", key="module", name="module")


def _with_kinds(usage: pl.DataFrame, by: str) -> pl.DataFrame:
    """*usage* summed by *by*; ``note``: the kinds in it, most pages first."""
    summed = usage.group_by(by, "word").agg(pl.col("pages").sum())
    summed = summed.sort("pages", "word", descending=[True, False])
    kinds = pl.col("word").str.strip_suffix("_PAGE").str.join(", ").alias("note")
    return summed.group_by(by, maintain_order=True).agg(pl.col("pages").sum(), kinds)


def _by_process(tables: Tables, where: Narrow) -> pl.DataFrame:
    return tables.groupings["process"].select("rss", "uss", key="process", name="process", pages="pss")


def _by_cgroup(tables: Tables, where: Narrow) -> pl.DataFrame:
    found = tables.groupings["cgroup"]
    dying = pl.when(pl.col("state") == "online").then(pl.lit("")).otherwise(pl.format("{}: ", "state"))
    key = pl.format("{}\n{}", "cgroup", "state")
    return found.select("pages", key=key, name="cgroup", note=dying + pl.col("pinned_by"))


def _by_mount(tables: Tables, where: Narrow) -> pl.DataFrame:
    return tables.groupings["mount"].select("pages", key="mount", name="mount", note="kinds")


GROUPS: dict[str, Callable[[Tables, Narrow], pl.DataFrame]] = {
    "kind": _by_kind,
    "owner": _by_owner,
    "process": _by_process,
    "stack": _by_stack,
    "cgroup": _by_cgroup,
    "node": _by_node,
    "module": _by_module,
    "mount": _by_mount,
}
"""What pages can be grouped by. :data:`WHOLE` are counted of all pages only."""

WHOLE = ("process", "cgroup", "mount")
