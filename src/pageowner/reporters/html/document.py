# SPDX-License-Identifier: LGPL-2.1-or-later
"""A snapshot as the data of a page: names in the header, everything that there is much of in columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.analyses.diff import FREE
from pageowner.analyses.picture import Picture, picture
from pageowner.reporters.html import ground_columns
from pageowner.reporters.html.payload import pack
from pageowner.reporters.options import SummaryOptions
from pageowner.reporters.palette import AGES, FAMILIES, MANY, MOBILITY, colors_of, family_of, order_of
from pageowner.reporters.summary_json import summary
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.places import AGES as AGE_STEPS

VIEWS = ("balance", "flame", "treemap", "map")
_PROCESS = r"(pid -?\d+ \([^()]*\))"
Columns = dict[str, npt.ArrayLike]


@dataclass(frozen=True)
class Request:
    """What to draw.

    ``source``: how the source is named on a command line, quoted for a shell; ``since``: an older snapshot,
    and its name; ``only``: filter options that were given, each as one word; ``by``: what the map is coloured
    by; ``limit``: bytes that it may take.
    """

    views: tuple[str, ...] = VIEWS
    source: str = ""
    since: Snapshot | None = None
    since_name: str = ""
    only: tuple[str, ...] = ()
    by: str = "kind"
    limit: int = ground_columns.LIMIT


def document(snapshot: Snapshot, request: Request) -> str:
    """The data of a page that shows *snapshot*: see :func:`pageowner.reporters.html.payload.pack`."""
    older = request.since.stacks if request.since is not None else None
    drawn = picture(snapshot, snapshot.zones, older)
    header, columns = _names(drawn)
    header |= _about(snapshot, request)
    columns |= _usage(drawn)
    if request.since is not None:
        columns |= _before(request.since, drawn, header["words"])
    if "map" in request.views and snapshot.pages.height:
        more, places = ground_columns.ground(snapshot, drawn, request.limit)
        header["map"], columns = more, columns | places
    return pack(header, columns)


def _about(snapshot: Snapshot, request: Request) -> dict[str, Any]:
    views = [view for view in request.views if view != "map" or snapshot.pages.height]
    part = bool(request.only) or "only" in snapshot.about
    return {
        "views": views,
        "lacking": [view for view in request.views if view not in views],
        "source": request.source,
        "since": request.since_name if request.since is not None else None,
        "only": request.only,
        "by": request.by,
        "about": snapshot.about,
        "partial": snapshot.partial,
        "remarks": snapshot.remarks,
        "summary": summary(snapshot, SummaryOptions(rows=25, part=part)),
        "families": [
            {"name": family.name, "light": family.light, "dark": family.dark} for family in FAMILIES
        ],
        "mobility": MOBILITY,
        "ages": {"steps": AGE_STEPS, "colors": AGES},
        "many": MANY,
    }


def _names(drawn: Picture) -> tuple[dict[str, Any], Columns]:
    """Kinds, owners, stacks and zones."""
    words = sorted(drawn.owners.get_column("word").unique().to_list(), key=order_of)
    functions = drawn.stacks.get_column("functions").explode().unique(maintain_order=True).drop_nulls()
    numbers = drawn.stacks.select(pl.col("functions")).explode("functions").get_column("functions")
    process = drawn.owners.get_column("owner").str.extract(_PROCESS)
    processes = process.drop_nulls().unique(maintain_order=True)
    keys = drawn.stacks.get_column("stack").to_numpy().view(np.uint64)
    header = {
        "words": [_kind(word) for word in words],
        "owners": drawn.owners.get_column("owner").to_list(),
        "functions": functions.to_list(),
        "processes": processes.to_list(),
        "zones": drawn.zones.to_dicts(),
    }
    columns: Columns = {
        "owner_word": numbered(drawn.owners.get_column("word"), words),
        "owner_folded": drawn.owners.get_column("folded").to_numpy(),
        "owner_process": numbered(process, processes.to_list(), first=1),
        "stack_frames": numbered(numbers.drop_nulls(), functions.to_list()),
        "stack_depth": drawn.stacks.get_column("functions").list.len().to_numpy(),
        "stack_tip": drawn.stacks.get_column("tip").to_numpy(),
        "stack_low": keys & np.uint64(0xFFFFFFFF),
        "stack_high": keys >> np.uint64(32),
    }
    return header, columns


def _kind(word: str) -> dict[str, Any]:
    light, dark = colors_of(word)
    return {
        "word": word,
        "family": FAMILIES.index(family_of(word)),
        "light": light,
        "dark": dark,
        "free": word in FREE,
    }


def _usage(drawn: Picture) -> Columns:
    return {f"usage_{name}": drawn.usage.get_column(name).to_numpy() for name in drawn.usage.columns}


def _before(since: Snapshot, drawn: Picture, words: list[dict[str, Any]]) -> Columns:
    """Pages of the older snapshot by stack and kind; free memory is no owner."""
    kinds = since.owners.filter(~pl.col("word").is_in(FREE)).select("id", "word")
    known = [kind["word"] for kind in words]
    words += [_kind(word) for word in sorted(set(kinds.get_column("word")) - set(known), key=order_of)]
    rows = (
        since.usage.join(kinds, on="id")
        .join(drawn.stack_numbers(), on="stack", how="left")
        .group_by(pl.col("number").fill_null(0), "word")
        .agg(pl.col("pages").sum())
        .sort("number", "word")
    )
    return {
        "before_stack": rows.get_column("number").to_numpy(),
        "before_word": numbered(rows.get_column("word"), [kind["word"] for kind in words]),
        "before_pages": rows.get_column("pages").to_numpy(),
    }


def numbered(names: pl.Series, known: list[str], first: int = 0) -> npt.NDArray[np.int64]:
    """The place of each of *names* in *known*, counted from *first*; 0 for null."""
    if not known:
        return np.zeros(len(names), np.int64)
    numbers = {name: number for number, name in enumerate(known, first)}
    column = names.replace_strict(numbers, default=0, return_dtype=pl.Int64)
    return column.fill_null(0).to_numpy()
