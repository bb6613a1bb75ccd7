# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of headers and PFN lines as columns, and those lines made again from the columns."""

from __future__ import annotations

import numpy as np
import polars as pl

from pageowner.ownertext.cuts import Cuts

# Numbers are taken only as the kernel writes them, so that they can be written back.
_DEC = r"0|[1-9][0-9]*"
_SIGNED = r"-?[1-9][0-9]*|0"
_HEX = r"0x(?:0|[1-9a-f][0-9a-f]*)"
_RECORDED = (
    rf"^Page allocated via order (?<order>{_DEC}), mask (?<gfp_mask>{_HEX})\((?<gfp>[^)\n]*)\)"
    rf"(?:, pid (?<pid>{_SIGNED}))?(?:, tgid (?<tgid>{_SIGNED}) \((?<comm>(?s:.*))\))?"
    rf"(?:, ts (?<ts_nsec>{_DEC}) ns)?(?:, free_ts (?<free_ts_nsec>{_DEC}) ns)?\n$"
)
_UNRECORDED = rf"^Page of order (?<order>{_DEC}), allocation not recorded\n$"
_FREED = (
    rf"^Page last freed via order (?<order>{_DEC})(?:, pid (?<free_pid>{_SIGNED}))?"
    rf"(?:, tgid (?<free_tgid>{_SIGNED}))?(?:, free_ts (?<free_ts_nsec>{_DEC}) ns)?"
    r", (?<since>allocated again|free since)\n$"
)
HEADERS = (_RECORDED, _UNRECORDED, _FREED)
"""The pattern of each kind of header, see :mod:`pageowner.ownertext.cuts`."""
PFN_LINE = (
    rf"^PFN (?<pfn_text>{_HEX}|{_DEC})(?: type (?<type_name>\S+))? Block (?<block>{_DEC})"
    r" type (?<block_type_name>\S+) Flags (?<flags_text>[^\n]*)\n$"
)

HEADER_SCHEMA = {
    "order": pl.UInt16,
    "gfp_mask": pl.UInt32,
    "gfp": pl.String,
    "pid": pl.Int32,
    "tgid": pl.Int32,
    "comm": pl.String,
    "ts_nsec": pl.UInt64,
    "free_ts_nsec": pl.UInt64,
    "free_pid": pl.Int32,
    "free_tgid": pl.Int32,
    "since": pl.String,
}
PFN_SCHEMA = {
    "pfn": pl.Int64,
    "hex_pfn": pl.Boolean,
    "type_name": pl.String,
    "block": pl.Int64,
    "block_type_name": pl.String,
    "flags": pl.UInt64,
    "flags_text": pl.String,
    "node": pl.Int16,
    "zone": pl.Int8,
}


def header_columns(headers: pl.Series, kind: int) -> pl.DataFrame:
    """Columns of :data:`HEADER_SCHEMA`; what a header does not say, or cannot say, is null.

    :param headers: lines of one kind, each with its newline, carried.
    """
    groups = _groups(headers, HEADERS[kind])
    columns = []
    for name, dtype in HEADER_SCHEMA.items():
        if name not in groups.columns:
            columns.append(pl.lit(None, dtype).alias(name))
        elif name == "gfp_mask":
            columns.append(_hex("gfp_mask").cast(dtype, strict=False))
        else:
            columns.append(pl.col(name).cast(dtype, strict=False))
    return groups.select(columns)


def headers_by_kind(headers: pl.Series, cuts: Cuts) -> pl.DataFrame:
    """:func:`header_columns` of the records of *cuts*, whatever their kinds, in their order."""
    kinds = np.unique(cuts.kind).tolist()
    if not kinds:
        return pl.DataFrame(schema=HEADER_SCHEMA)
    if len(kinds) == 1:
        return header_columns(headers, kinds[0])
    rows = [np.flatnonzero(cuts.kind == kind) for kind in kinds]
    parts = [header_columns(headers.gather(at), kind) for kind, at in zip(kinds, rows, strict=True)]
    return pl.concat(parts)[np.argsort(np.concatenate(rows), kind="stable")]


def pfn_columns(lines: pl.Series) -> pl.DataFrame:
    """Columns of :data:`PFN_SCHEMA` of PFN lines, each with its newline; nulls where one cannot be read."""
    text = pl.col("pfn_text")
    number = pl.when(text.str.starts_with("0x")).then(_hex("pfn_text")).otherwise(
        text.cast(pl.Int64, strict=False)
    )
    flags = pl.col("flags_text")
    raw = flags.str.extract(r"^0x([0-9a-f]+)")
    return _groups(lines, PFN_LINE).select(
        number.alias("pfn"),
        text.str.starts_with("0x").alias("hex_pfn"),
        "type_name",
        pl.col("block").cast(pl.Int64, strict=False),
        "block_type_name",
        raw.str.to_integer(base=16, dtype=pl.UInt64, strict=False).alias("flags"),
        "flags_text",
        flags.str.extract(r"[(|]node=([0-9]+)").cast(pl.Int16, strict=False).alias("node"),
        flags.str.extract(r"[(|]zone=([0-9]+)").cast(pl.Int8, strict=False).alias("zone"),
    )


def header_lines(frame: pl.DataFrame) -> pl.Series:
    """The headers again, from the columns of :func:`header_columns` and ``kind``."""
    order = pl.col("order").cast(pl.String)
    recorded = pl.concat_str(
        [
            pl.lit("Page allocated via order "), order, pl.lit(", mask "), _hex_text("gfp_mask"),
            pl.lit("("), pl.col("gfp"), pl.lit(")"), _part("pid", ", pid {}"),
            pl.coalesce(pl.format(", tgid {} ({})", "tgid", "comm"), pl.lit("")),
            _part("ts_nsec", ", ts {} ns"), _part("free_ts_nsec", ", free_ts {} ns"), pl.lit("\n"),
        ]
    )  # fmt: skip
    unrecorded = pl.format("Page of order {}, allocation not recorded\n", order)
    freed = pl.concat_str(
        [
            pl.lit("Page last freed via order "), order, _part("free_pid", ", pid {}"),
            _part("free_tgid", ", tgid {}"), _part("free_ts_nsec", ", free_ts {} ns"),
            pl.lit(", "), pl.col("since"), pl.lit("\n"),
        ]
    )  # fmt: skip
    by_kind = pl.when(pl.col("kind") == 0).then(recorded).when(pl.col("kind") == 1).then(unrecorded)
    return frame.select(by_kind.otherwise(freed).alias("header")).to_series()


def pfn_lines(frame: pl.DataFrame) -> pl.Series:
    """The PFN lines again, from the columns of :func:`pfn_columns`."""
    number = pl.when("hex_pfn").then(_hex_text("pfn")).otherwise(pl.col("pfn").cast(pl.String))
    parts = [
        pl.lit("PFN "), number, _part("type_name", " type {}"), pl.lit(" Block "),
        pl.col("block").cast(pl.String), pl.lit(" type "), pl.col("block_type_name"), pl.lit(" Flags "),
        pl.col("flags_text"), pl.lit("\n"),
    ]  # fmt: skip
    return frame.select(pl.concat_str(parts).alias("pfnline")).to_series()


def _groups(lines: pl.Series, pattern: str) -> pl.DataFrame:
    named = lines.alias("line").to_frame().select(pl.col("line").str.extract_groups(pattern))
    return named.unnest("line")


def _hex(name: str) -> pl.Expr:
    return pl.col(name).str.slice(2).str.to_integer(base=16, dtype=pl.Int64, strict=False)


def _hex_text(name: str) -> pl.Expr:
    return pl.lit("0x") + pl.col(name).map_batches(_hex_series, return_dtype=pl.String)


def _hex_series(values: pl.Series) -> pl.Series:
    from pageowner.ownertext.hextext import hex_text

    known = values.fill_null(0)
    return pl.select(pl.when(values.is_not_null()).then(hex_text(known))).to_series()


def _part(name: str, text: str) -> pl.Expr:
    return pl.coalesce(pl.format(text, pl.col(name)), pl.lit(""))
