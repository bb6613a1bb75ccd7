# SPDX-License-Identifier: LGPL-2.1-or-later
"""Any page_owner text as tables: the kernel's from 5.10 on, the RFC's, and our own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from pageowner.ownertext.carried import carried
from pageowner.ownertext.chunks import chunks
from pageowner.ownertext.columns import (
    HEADER_SCHEMA,
    PFN_SCHEMA,
    header_lines,
    headers_by_kind,
    pfn_columns,
    pfn_lines,
)
from pageowner.ownertext.cuts import FREED, I64, Bools, Cuts, cut
from pageowner.ownertext.health import Health
from pageowner.ownertext.intern import Tails

_OWNER_SCHEMA = {"owner": pl.String, "mapped": pl.String}
RECORDS_SCHEMA = {
    "kind": pl.UInt8,
    **PFN_SCHEMA,
    **HEADER_SCHEMA,
    "allocated": pl.Boolean,
    "n": pl.Int64,
    "stack": pl.UInt32,
    **_OWNER_SCHEMA,
    "raw_header": pl.String,
    "raw_pfnline": pl.String,
    "word": pl.String,
    "inferred": pl.Boolean,
}
"""Columns of :attr:`OwnerText.records`. Names are those of
:data:`pageowner.kernel.record_table.RECORD_SCHEMA` where that has them. Beyond: ``kind``
(:mod:`pageowner.ownertext.cuts`); ``n``, pages of the block; ``gfp``, ``type_name``, ``block_type_name``,
``flags_text``: as printed; ``block``, the pageblock's number; ``node``, ``zone``: from the flags; ``stack``:
row in :attr:`OwnerText.stacks`; ``owner``: the owner line without its newline; ``mapped``: lines that follow
it; ``word``: what the page is, ``inferred`` if from the stack only; ``raw_header``, ``raw_pfnline``: these
lines, where they could not be made again from the columns (else null)."""

INFERRED = " inferred:stack"
"""What owner lines have that :mod:`pageowner.ownertext.rewrite` inferred."""
_MOST_ORDER = 18


@dataclass(frozen=True)
class OwnerText:
    """A text's tables. ``records``: see :data:`RECORDS_SCHEMA`, in the text's order. ``stacks``: see
    :data:`pageowner.ownertext.intern.STACKS_SCHEMA`; one row per distinct text after a PFN line.
    ``preamble``: what precedes the first record.
    """

    records: pl.DataFrame
    stacks: pl.DataFrame
    preamble: bytes
    health: Health


def read_text(blocks: Iterable[bytes]) -> OwnerText:
    """Read a whole text.

    :param blocks: its bytes, in pieces of any size.
    """
    tails, health = Tails(), Health()
    frames = [pl.DataFrame(schema=RECORDS_SCHEMA)]
    preamble = b""
    for data in chunks(blocks):
        cuts = cut(data)
        if len(frames) == 1:
            preamble += data[: cuts.first]
        if len(cuts):
            health.add(cuts)
            frames.append(records_of(cuts, tails))
    return OwnerText(pl.concat(frames), tails.table(), preamble, health)


def records_of(cuts: Cuts, tails: Tails) -> pl.DataFrame:
    """The records of one piece of text, see :data:`RECORDS_SCHEMA`."""
    header = carried(cuts.pieces(cuts.start, cuts.owner))
    pfnline = carried(cuts.pieces(cuts.pfn, cuts.rest))
    frame = pl.DataFrame({"kind": pl.Series(cuts.kind)})
    frame = frame.hstack(pfn_columns(pfnline)).hstack(headers_by_kind(header, cuts))
    frame = frame.hstack(_owners(cuts)).with_columns(
        allocated=(pl.col("kind") != FREED) | (pl.col("since") == "allocated again").fill_null(False),
        n=pages(pl.col("order")),
        stack=tails.ids(cuts),
    )
    frame = frame.with_columns(_raw(cuts, frame, header, pfnline))
    return _with_words(frame, tails).select(pl.col(name).cast(kind) for name, kind in RECORDS_SCHEMA.items())


def pages(order: pl.Expr) -> pl.Expr:
    """2^order; an order beyond any allocator's, or none, is damage and counts as one page."""
    return pl.lit(1, pl.Int64) * pl.lit(2, pl.Int64).pow(
        pl.when(order <= _MOST_ORDER).then(order).otherwise(0).cast(pl.Int64)
    ).cast(pl.Int64)


def _owners(cuts: Cuts) -> pl.DataFrame:
    """``owner`` (null where there is none) and ``mapped``."""
    owner = pl.Series("owner", [None], dtype=pl.String).new_from_index(0, len(cuts))
    mapped = pl.Series("mapped", [""], dtype=pl.String).new_from_index(0, len(cuts))
    rows = np.flatnonzero(cuts.ok & (cuts.pfn > cuts.owner))
    if len(rows):
        lines = carried(cuts.pieces(cuts.owner[rows], cuts.pfn[rows]))
        parts = lines.str.splitn("\n", 2).struct
        owner = owner.scatter(rows, parts.field("field_0"))
        mapped = mapped.scatter(rows, parts.field("field_1"))
    return pl.DataFrame([owner.alias("owner"), mapped.alias("mapped")])


def _raw(cuts: Cuts, frame: pl.DataFrame, header: pl.Series, pfnline: pl.Series) -> list[pl.Series]:
    """The lines of those records that the columns do not hold in full; of damaged ones, all of them."""
    plain = (header_lines(frame) == header).fill_null(False).to_numpy() & cuts.ok
    same = (pfn_lines(frame) == pfnline).fill_null(False).to_numpy()
    until = np.where(cuts.ok, cuts.owner, cuts.pfn)
    return [
        _where(~plain, cuts, cuts.start, until).alias("raw_header"),
        _where(~same, cuts, cuts.pfn, cuts.rest).alias("raw_pfnline"),
    ]


def _where(rows: Bools, cuts: Cuts, start: I64, end: I64) -> pl.Series:
    at = np.flatnonzero(rows)
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, len(cuts))
    return nothing.scatter(at, carried(cuts.pieces(start[at], end[at]))) if len(at) else nothing


def _with_words(frame: pl.DataFrame, tails: Tails) -> pl.DataFrame:
    """``word`` and ``inferred``: from the owner line, from what says slab, else from the stack."""
    guessed = tails.table().select("stack", "slab", pl.col("word").alias("guess"))
    joined = frame.join(guessed, on="stack", how="left", maintain_order="left")
    told = pl.col("owner").str.extract(r"^([A-Z][A-Z0-9_]*_PAGE)")
    slab = pl.col("slab") | pl.col("flags_text").str.contains(r"[(|]slab[|)]").fill_null(False)
    word = pl.when(told.is_not_null()).then(told).when(slab).then(pl.lit("SLAB_PAGE")).otherwise("guess")
    by_us = pl.col("owner").str.contains(INFERRED, literal=True)
    inferred = pl.when(told.is_null()).then(~slab).otherwise(by_us)
    return joined.with_columns(word=word, inferred=inferred).drop("slab", "guess")
