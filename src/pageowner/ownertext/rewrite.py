# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables of a page_owner text as text again: the same bytes, or with other owner lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import polars as pl

from pageowner.ownertext.columns import header_lines, pfn_lines
from pageowner.ownertext.cuts import Cuts
from pageowner.ownertext.intern import Tails
from pageowner.ownertext.read import INFERRED, OwnerText, records_of
from pageowner.rawtext import escape_carried, joined_bytes, visible_lines

_ROWS = 100_000


def write_text(text: OwnerText) -> Iterator[bytes]:
    """The text that :func:`pageowner.ownertext.read.read_text` read, byte for byte, in pieces."""
    yield text.preamble
    for part in text.records.iter_slices(_ROWS):
        yield record_bytes(part, text.stacks)


def record_bytes(records: pl.DataFrame, stacks: pl.DataFrame) -> bytes:
    """Records as they stood in the text.

    :param records: rows of :attr:`OwnerText.records`, with their ``stacks``.
    """
    tails = stacks.select("stack", "tail")
    lines = pl.DataFrame(
        {
            "header": header_lines(records),
            "pfnline": pfn_lines(records),
            "tail": records.join(tails, on="stack", how="left", maintain_order="left").get_column("tail"),
        }
    ).hstack(records.select("raw_header", "owner", "mapped", "raw_pfnline"))
    whole = pl.concat_str(
        pl.coalesce("raw_header", "header"),
        pl.coalesce(pl.col("owner") + "\n", pl.lit("")),
        "mapped",
        pl.coalesce("raw_pfnline", "pfnline"),
        "tail",
    )
    return joined_bytes(lines.select(whole.alias("record")).to_series())


def chosen_records(
    pieces: Iterable[Cuts], chosen: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
) -> Iterator[bytes]:
    """Those records of a text that are wanted, byte for byte; see :func:`rewritten`."""
    tails = Tails()
    for cuts in pieces:
        records = chosen(records_of(cuts, tails), tails.table())
        yield record_bytes(records, tails.table())


def rewritten(
    pieces: Iterable[Cuts],
    owners: bool = True,
    mappings: bool = False,
    chosen: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame] | None = None,
    visible: bool = False,
) -> Iterator[bytes]:
    """A text of any size again, as ``report`` prints it; what precedes the first record is left out.

    :param pieces: as :meth:`pageowner.ownertext.health.Health.cuts` gives them.
    :param owners: with owner lines, where there is none with an inferred one; else without any.
    :param mappings: with the lines that follow owner lines.
    :param chosen: gives those of some records that are wanted; it gets the tails met so far, too.
    :param visible: bytes in names that a terminal obeys as ``\\ooo``.
    """
    tails = Tails()
    for cuts in pieces:
        records = records_of(cuts, tails)
        if chosen is not None:
            records = chosen(records, tails.table())
        records = with_owners(records, tails.table()) if owners else _without_owners(records)
        if not mappings:
            records = records.with_columns(mapped=pl.lit(""))
        stacks = tails.table()
        if visible:
            records = _visible(records)
            stacks = stacks.with_columns(visible_lines(stacks.get_column("tail")))
        yield record_bytes(records, stacks)


def with_owners(records: pl.DataFrame, stacks: pl.DataFrame) -> pl.DataFrame:
    """*records* with an inferred owner line (``owner``) where the text has none."""
    callers = stacks.select("stack", "caller")
    joined = records.join(callers, on="stack", how="left", maintain_order="left")
    nobody = pl.col("word").is_in(["EARLY_PAGE", "NO_STACK_PAGE"])
    caller = pl.when(nobody).then(pl.lit("")).otherwise(pl.format(" caller:{}", "caller"))
    line = pl.concat_str("word", pl.lit(INFERRED), caller)
    whole = pl.col("raw_header").is_null() | pl.col("pfn").is_not_null()
    guess = pl.when(whole).then(line)
    return joined.with_columns(owner=pl.coalesce("owner", guess)).drop("caller")


def _without_owners(records: pl.DataFrame) -> pl.DataFrame:
    return records.with_columns(owner=pl.lit(None, pl.String), mapped=pl.lit(""))


def _visible(records: pl.DataFrame) -> pl.DataFrame:
    for name in ("comm", "raw_header", "raw_pfnline"):
        unique = records.get_column(name).drop_nulls().unique()
        shown = ["\n".join(map(escape_carried, text.split("\n"))) for text in unique]
        if name == "comm":
            shown = [escape_carried(text) for text in unique]
        if len(unique):
            replaced = pl.col(name).replace_strict(unique, shown, default=None, return_dtype=pl.String)
            records = records.with_columns(replaced.alias(name))
    return records
