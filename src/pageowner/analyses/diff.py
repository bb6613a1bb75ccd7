# SPDX-License-Identifier: LGPL-2.1-or-later
"""What grew and shrank between snapshots, by kind, by owner and by call stack.

Rows join by what does not change with a reboot or another kernel: the owner's name without process ids,
offsets and addresses, and the functions of the stack. Free memory is no owner here.

An owner that is new may stand where another went: short-lived processes, files that pass through the page
cache. So new owners are set off against those that are gone, by kind and stack, and only the excess is
``growth``. Nor is it growth when the page cache takes what nobody else needs: pages that the kernel can give
back (``reclaimable``) count in ``change``, the plain difference, alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from pageowner.analyses.groups import Tables
from pageowner.analyses.names import short_stack, stable_name

FREE = ("FREE_PAGE", "PCP_FREE_PAGE")
_CELL = ["word", "owner", "stack"]


@dataclass(frozen=True)
class Diff:
    """All rows that differ between any two of the snapshots; steady growers first, then by growth.

    Each table has ``pages`` (list, one number per snapshot), ``change`` (last minus first), ``growth`` and
    ``steady`` (it kept more at every step), in pages. ``owners`` has ``word``, ``owner`` and ``stack`` (from
    where most of its change comes), ``stacks`` has ``stack`` and ``kinds``, ``kinds`` has ``word``.
    ``turnover``: pages of new owners that stand where others went. ``cache``: pages by which the page cache
    that can be given back has grown; 0 where a snapshot does not tell it from the rest.
    """

    kinds: pl.DataFrame
    owners: pl.DataFrame
    stacks: pl.DataFrame
    turnover: int
    cache: int

    @property
    def most_growth(self) -> int:
        """Pages by which the owner or stack that grew most has grown; 0 when none has."""
        tops = [table.get_column("growth").max() or 0 for table in (self.owners, self.stacks)]
        return max(0, *(int(str(top)) for top in tops))


def diff(snapshots: Sequence[Tables]) -> Diff:
    """Compare two or more *snapshots*, oldest first."""
    last = len(snapshots) - 1
    cells = _cells(snapshots)
    cells = cells.with_columns(first=pl.col("k0"), last=pl.col(f"k{last}"))
    grown = _without_turnover(cells)
    functions = pl.concat([s.stacks.select("stack", "functions") for s in snapshots]).unique("stack")
    names = functions.select("stack", short_stack(pl.col("functions")).alias("text"))
    plain = grown.with_columns(growth=pl.col("last") - pl.col("first"))
    owners = _rows(grown, ["word", "owner"], last).join(_main_stacks(grown, names), on=["word", "owner"])
    stacks = _rows(plain.filter(pl.col("stack") != 0), ["stack"], last)
    named = stacks.join(names, on="stack").join(_main_kinds(grown), on="stack")
    kept = (pl.col(f"s{last}") - pl.col(f"k{last}")) - (pl.col("s0") - pl.col("k0"))
    return Diff(
        kinds=_ranked(_rows(plain, ["word"], last), "word"),
        owners=_ranked(owners, "word", "owner"),
        stacks=_ranked(named.drop("stack").rename({"text": "stack"}), "stack"),
        turnover=int(grown.get_column("turnover").sum()),
        cache=max(int(cells.select(kept.sum()).item()), 0),
    )


def _cells(snapshots: Sequence[Tables]) -> pl.DataFrame:
    """Pages by kind, owner and stack: columns ``s0``, ``s1``, … and, of these, what cannot be given back:
    ``k0``, ``k1``, …"""
    told = all(snapshot.usage.get_column("reclaimable").null_count() == 0 for snapshot in snapshots)
    parts = [_pages(snapshot, told).with_columns(at=pl.lit(at)) for at, snapshot in enumerate(snapshots)]
    each = [
        pl.col(name).filter(pl.col("at") == at).sum().alias(f"{letter}{at}")
        for at in range(len(parts))
        for letter, name in (("s", "pages"), ("k", "kept"))
    ]
    return pl.concat(parts).group_by(_CELL).agg(each)


def _pages(tables: Tables, told: bool) -> pl.DataFrame:
    name = stable_name(pl.col("word"), pl.col("owner")).alias("owner")
    owners = tables.owners.filter(~pl.col("word").is_in(FREE)).select("id", "word", name)
    kept = pl.col("pages") - (pl.col("reclaimable") if told else 0)
    return tables.usage.select("id", "stack", "pages", kept.alias("kept")).join(owners, on="id").drop("id")


def _without_turnover(cells: pl.DataFrame) -> pl.DataFrame:
    """*cells* with ``growth`` (may be a fraction) and ``turnover`` (of new owners only)."""
    owner, place = ["word", "owner"], ["word", "stack"]
    new = pl.col("first").sum().over(owner) == 0
    gone = pl.col("last").sum().over(owner) == 0
    moved = cells.with_columns(
        came=pl.when(new).then("last").otherwise(0), went=pl.when(gone).then("first").otherwise(0)
    )
    both = pl.min_horizontal(pl.col("came").sum().over(place), pl.col("went").sum().over(place))
    shares = {name: pl.col(name) * both / pl.col(name).sum().over(place) for name in ("came", "went")}
    replaced = {name: share.fill_nan(0.0) for name, share in shares.items()}
    grown = pl.col("last") - pl.col("first")
    return moved.with_columns(
        growth=grown - replaced["came"] + replaced["went"], turnover=replaced["came"]
    ).drop("came", "went")


def _rows(cells: pl.DataFrame, by: list[str], last: int) -> pl.DataFrame:
    """*cells* summed by *by*, where any number differs."""
    columns, kept = ([f"{letter}{at}" for at in range(last + 1)] for letter in "sk")
    sums = pl.col(*columns, *kept).sum()
    summed = cells.group_by(by).agg(sums, pl.col("growth").sum().round().cast(pl.Int64))
    steps = [pl.col(b) > pl.col(a) for a, b in pairwise(kept)]
    differs = [pl.max_horizontal(names) != pl.min_horizontal(names) for names in (columns, kept)]
    return summed.filter(pl.any_horizontal(differs)).select(
        *by,
        pl.concat_list(columns).alias("pages"),
        (pl.col(columns[-1]) - pl.col(columns[0])).alias("change"),
        "growth",
        (pl.all_horizontal(steps) & (pl.col("growth") > 0)).alias("steady"),
    )


def _main_stacks(cells: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """``word``, ``owner``, ``stack``: from where most of the owner's change comes ("" without records)."""
    main = (
        cells.sort((pl.col("last") - pl.col("first")).abs(), "stack", descending=[True, False])
        .unique(["word", "owner"], keep="first", maintain_order=True)
        .join(names, on="stack", how="left")
    )
    return main.select("word", "owner", pl.col("text").fill_null("").alias("stack"))


def _main_kinds(cells: pl.DataFrame) -> pl.DataFrame:
    """``stack``, ``kinds``: those whose pages changed there, most first."""
    changed = cells.group_by("stack", "word").agg((pl.col("last") - pl.col("first")).sum().alias("change"))
    ordered = changed.sort(pl.col("change").abs(), "word", descending=[True, False])
    return ordered.group_by("stack", maintain_order=True).agg(pl.col("word").str.join(", ").alias("kinds"))


def _ranked(rows: pl.DataFrame, *names: str) -> pl.DataFrame:
    order = ["steady", "growth", "change"]
    return rows.sort(*order, *names, descending=[True] * 3 + [False] * len(names))
