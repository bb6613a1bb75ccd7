# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the terminal's map is coloured by: every page as a number, and what the numbers look like."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pageowner.analyses.diff import FREE
from pageowner.analyses.zonemap import overlaps
from pageowner.errors import PageownerError
from pageowner.reporters.palette import AGES as AGE_COLORS
from pageowner.reporters.palette import FAMILIES, MANY, MOBILITY, colors_of, family_of, order_of
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.places import AGES

_PROCESS = r"(pid -?\d+ \([^()]*\))"
_GREY, _FREE = "#847c70", FAMILIES[-1].dark
_LETTERS = "abcdefghijkl"


@dataclass(frozen=True)
class Legend:
    """By number, 0 being a hole: ``names``, ``pages``, ``letters`` (where there is no colour), ``colors``."""

    names: list[str]
    pages: list[int]
    letters: list[str]
    colors: list[str | None]

    def entries(self, color: bool) -> list[tuple[str, int, str, str | None]]:
        """Name, pages, letter and colour of what there is; kinds of one letter are one entry."""
        rows = list(zip(self.names, self.pages, self.letters, self.colors, strict=True))[1:]
        if color:
            return [row for row in rows if row[1]]
        summed: dict[str, tuple[str, int, str, str | None]] = {}
        for name, pages, letter, shade in rows:
            before = summed.get(letter)
            title = _FAMILY.get(letter, name) if name in _SHORT else name
            summed[letter] = (title, pages + (before[1] if before else 0), letter, shade)
        return [row for row in summed.values() if row[1]]


_FAMILY = {family.letter: family.name for family in FAMILIES}
_SHORT = {word.removesuffix("_PAGE") for family in FAMILIES for word in family.words}


def numbered_runs(snapshot: Snapshot, by: str) -> tuple[pl.DataFrame, Legend]:
    """``pfn``, ``n``, ``number`` of all pages, and what the numbers stand for.

    :raises PageownerError: when *snapshot* does not say it.
    """
    pages = snapshot.pages.select("pfn", "n", "word", "owner").sort("pfn")
    if by == "kind":
        return _numbered(pages, "word", _kinds(pages))
    places = snapshot.groupings.get("place")
    if places is None or not places.height:
        raise PageownerError(f"this source does not say {by} page by page: record it anew, or give a core")
    both = overlaps(pages, places.select("pfn", "n", "mobility", "process", "age"))
    free = pl.col("word").is_in(FREE)
    if by == "mobility":
        kind = pl.col("mobility").fill_null("unknown")
        named = both.with_columns(name=pl.when(free).then(kind + ", free").otherwise(kind))
        return _numbered(named, "name", _mobilities(named))
    if by == "age":
        step = pl.col("age").cast(pl.String).fill_null("not recorded")
        named = both.with_columns(name=pl.when(free).then(pl.lit("free")).otherwise(step))
        return _numbered(named, "name", _ages())
    who = pl.coalesce("process", pl.col("owner").str.extract(_PROCESS)).fill_null("no process known")
    named = both.with_columns(name=pl.when(free).then(pl.lit("free")).otherwise(who))
    return _numbered(named, "name", _processes(named))


Look = tuple[str, str, str, str]  # what is in the column, its name, letter, colour


def _numbered(runs: pl.DataFrame, column: str, looks: list[Look]) -> tuple[pl.DataFrame, Legend]:
    numbers = {value: number for number, (value, *_) in enumerate(looks, 1)}
    other = len(looks)  # the last is for what is none of the others
    number = pl.col(column).replace_strict(numbers, default=other, return_dtype=pl.Int64)
    numbered = runs.select("pfn", "n", number.alias("number"))
    sums = dict(numbered.group_by("number").agg(pl.col("n").sum()).iter_rows())
    legend = Legend(
        ["", *(name for _, name, _, _ in looks)],
        [0, *(sums.get(number, 0) for number in range(1, len(looks) + 1))],
        [" ", *(letter for _, _, letter, _ in looks)],
        [None, *(color for *_, color in looks)],
    )
    return numbered, legend


def _kinds(pages: pl.DataFrame) -> list[Look]:
    words = sorted(pages.get_column("word").unique().to_list(), key=order_of)
    return [(word, word.removesuffix("_PAGE"), family_of(word).letter, colors_of(word)[1]) for word in words]


def _mobilities(named: pl.DataFrame) -> list[Look]:
    kinds = named.get_column("mobility").fill_null("unknown").unique().sort().to_list()
    looks = []
    for kind in kinds:
        letter, (_, color) = kind[0], MOBILITY.get(kind, (_GREY, _GREY))
        dim = "#" + "".join(f"{int(color[i : i + 2], 16) * 2 // 5:02x}" for i in (1, 3, 5))
        free = f"{kind}, free"
        looks += [(kind, kind, letter.upper(), color), (free, free, letter.lower(), dim)]
    return looks


def _ages() -> list[Look]:
    ends = [*(str(age) for age in AGES[1:]), ""]
    steps = [
        (str(age), f"{age}-{end} s" if end else f"{age} s or older", str(i), AGE_COLORS[i])
        for i, (age, end) in enumerate(zip(AGES, ends, strict=True))
    ]
    return [*steps, ("free", "free", ".", _FREE), ("not recorded", "not recorded", "?", _GREY)]


def _processes(named: pl.DataFrame) -> list[Look]:
    known = named.filter(~pl.col("name").is_in(["free", "no process known"]))
    sums = known.group_by("name").agg(pl.col("n").sum()).sort("n", "name", descending=[True, False])
    top = sums.get_column("name").head(len(_LETTERS)).to_list()
    looks = [(name, name, letter, color) for name, letter, color in zip(top, _LETTERS, MANY, strict=False)]
    return [
        *looks,
        ("free", "free", ".", _FREE),
        ("no process known", "no process known", "?", _GREY),
        ("", "other processes", "+", "#b8b2a7"),
    ]
