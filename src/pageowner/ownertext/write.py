# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own page_owner text, made from columns (``print_page_owner()`` in mm/page_owner.c).

Whole columns are joined from prebuilt pieces: nothing here runs per record in Python.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.runs import distinct
from pageowner.ownertext.alike import Alike, alike, text_of_each
from pageowner.ownertext.hextext import hex_text
from pageowner.ownertext.tables import TextTables
from pageowner.rawtext import joined_bytes

# The columns that a header's text takes from neighbours that are alike, and those that no two records share.
_HEADER_PARTS = (("pid", ", pid {}", ("pid",)), ("tgid", ", tgid {} ({})", ("tgid", "comm")))
_TIMES = (("ts", ", ts ", "ts_nsec"), ("free_ts", ", free_ts ", "free_ts_nsec"))
_FREED_PARTS = ((", pid {}", "free_pid"), (", tgid {}", "free_tgid"), (", free_ts {} ns", "free_ts_nsec"))


def kernel_text(frame: pl.DataFrame, names: TextTables) -> pl.DataFrame:
    """The lines of each record of *frame*, in its order.

    :param frame: as :func:`pageowner.kernel.record_table.record_table` makes it: ``pfn``, ``order``,
        ``gfp_mask``, ``handle``, ``last_migrate_reason``, ``flags``, ``block_type``, ``memcg_data``, and
        those of ``pid``, ``tgid``, ``comm``, ``ts_nsec``, ``free_ts_nsec`` that the kernel records.
    :returns: String columns ``header`` and ``pfnline`` (one line each, without newline), ``frames`` and
        ``tail`` (any number of lines, each with its newline; tail: migrated and memcg). A record is header NL
        pfnline NL frames tail NL. Bytes that are not UTF-8 are carried (:mod:`pageowner.rawtext`): write with
        :func:`pageowner.rawtext.joined_bytes`.
    """
    return pl.DataFrame(
        {
            "header": header_text(frame, names),
            "pfnline": pfn_text(frame, names),
            "frames": frames_text(frame["handle"], names),
            "tail": tail_text(frame, names),
        }
    )


def freed_text(frame: pl.DataFrame, names: TextTables) -> pl.DataFrame:
    """The last-free half of each record, in the same four columns as :func:`kernel_text`.

    The kernel prints this half only when it dumps a bad page. Header: ``Page last freed via order 0,
    pid 98, tgid 98, free_ts 28441476044 ns, free since``, or ``allocated again`` at the end; what the kernel
    does not record is left out (free_ts until 5.12, pid and tgid until 6.7). Frames are those of the free.

    :param frame: as for :func:`kernel_text`, with ``free_handle``, ``allocated``, and those of ``free_pid``,
        ``free_tgid``, ``free_ts_nsec`` that the kernel records.
    """
    parts: list[pl.Expr] = [pl.lit("Page last freed via order "), pl.col("order").cast(pl.String)]
    for text, column in _FREED_PARTS:
        if column in frame.columns:
            parts.append(pl.format(text, pl.col(column)))
    parts.append(pl.when("allocated").then(pl.lit(", allocated again")).otherwise(pl.lit(", free since")))
    header = frame.select(pl.concat_str(parts).alias("header")).to_series()
    return pl.DataFrame(
        {
            "header": header,
            "pfnline": pfn_text(frame, names),
            "frames": frames_text(frame["free_handle"], names),
            "tail": pl.repeat("", frame.height, dtype=pl.String, eager=True),
        }
    )


def record_bytes(text: pl.DataFrame) -> bytes:
    """The records of :func:`kernel_text` as the kernel prints them, an empty line after each."""
    newline = pl.lit("\n")
    record = pl.concat_str([pl.col("header"), newline, pl.col("pfnline"), newline, "frames", "tail", newline])
    return joined_bytes(text.select(record.alias("record")).to_series())


def header_text(frame: pl.DataFrame, names: TextTables) -> pl.Series:
    """``Page allocated via order …`` of each record, with what this kernel's header has."""
    runs = alike(frame, "order", "gfp_mask", "pid", "tgid", "comm")
    columns = {"begin": runs.repeated(_header_begin(runs.first, names))}
    parts: list[pl.Expr] = [pl.col("begin")]
    for name, text, column in _TIMES:
        if name in names.shape.header and column in frame.columns:
            columns[name] = frame.get_column(column)
            parts += [pl.lit(text), pl.col(name), pl.lit(" ns")]
    if len(parts) == 1:
        return columns["begin"].alias("header")
    return pl.DataFrame(columns).select(pl.concat_str(parts).alias("header")).to_series()


def _header_begin(frame: pl.DataFrame, names: TextTables) -> pl.Series:
    """The header up to its times."""
    parts: list[pl.Expr] = [pl.lit("Page allocated via order "), pl.col("order").cast(pl.String)]
    masks = frame["gfp_mask"].unique()
    texts = [f", mask {names.gfp.text(mask)}" for mask in masks.to_list()]
    gfp = pl.DataFrame({"gfp_mask": masks, "gfp": pl.Series(texts, dtype=pl.String)})
    parts.append(pl.col("gfp"))
    for name, text, columns in _HEADER_PARTS:
        if name in names.shape.header and all(column in frame.columns for column in columns):
            parts.append(pl.format(text, *columns))
    joined = frame.join(gfp, on="gfp_mask", how="left", maintain_order="left")
    return joined.select(pl.concat_str(parts)).to_series()


def pfn_text(frame: pl.DataFrame, names: TextTables) -> pl.Series:
    """``PFN … type … Block … type … Flags …`` of each record."""
    block = pl.Series("block", frame["pfn"].cast(pl.Int64).to_numpy() >> names.block_order)
    runs = Alike([block, *frame.select("gfp_mask", "block_type", "flags")])
    columns = {"pfn": pfn_number(frame["pfn"], names), "end": runs.repeated(_pfn_end(runs.first, names))}
    begin = pl.lit("PFN 0x" if names.shape.hex_pfn else "PFN ")
    return pl.DataFrame(columns).select(pl.concat_str([begin, "pfn", "end"]).alias("pfnline")).to_series()


def pfn_number(pfn: pl.Series, names: TextTables) -> pl.Series:
    """Each PFN as this kernel prints it, without ``0x``."""
    return hex_text(pfn) if names.shape.hex_pfn else pfn.cast(pl.String)


def _pfn_end(frame: pl.DataFrame, names: TextTables) -> pl.Series:
    """The PFN line from `` type`` on."""
    types = names.types
    columns = {
        "type": _named(types.of_gfp(frame["gfp_mask"].cast(pl.UInt32).to_numpy()), types.name),
        "block": frame["block"],
        "block_type": _named(frame["block_type"].cast(pl.UInt8).to_numpy(), types.name),
        "flags": flags_text(frame["flags"], names),
    }
    line = pl.format(" type {} Block {} type {} Flags {}", *columns)
    return pl.DataFrame(columns).select(line).to_series()


def flags_text(words: pl.Series, names: TextTables) -> pl.Series:
    """``%pGp`` of each flags word, with the raw value before it: ``0x…(uptodate|lru|node=0|zone=1)``."""
    flags = names.flags
    unique, which = distinct(words.cast(pl.UInt64).to_numpy())
    parts = [flags.names.texts((unique & np.uint64(flags.mask)).tolist())]
    for field in flags.printed:
        form = f"{field.name}=0x{{:x}}" if field.base == 16 else f"{field.name}={{}}"
        parts.append([form.format(value) for value in field.of(unique).tolist()])
    inner = ["|".join(filter(None, of_word)) for of_word in zip(*parts, strict=True)]
    texts = [f"0x{word:x}({text})" for word, text in zip(unique.tolist(), inner, strict=True)]
    return pl.Series("flags", texts, dtype=pl.String)[pl.Series(which)]


def frames_text(handles: pl.Series, names: TextTables) -> pl.Series:
    """The stack lines of each handle; none for 0."""
    return text_of_each(handles.alias("handle"), lambda unlike: _frames(unlike, names))


def _frames(handles: pl.Series, names: TextTables) -> pl.Series:
    wanted = pl.DataFrame({"handle": handles.cast(pl.UInt32)})
    return wanted.join(names.stacks, on="handle", how="left", maintain_order="left")["frames"].fill_null("")


def tail_text(frame: pl.DataFrame, names: TextTables) -> pl.Series:
    """The lines after the stack: migrated and charged, each with its newline."""
    runs = alike(frame, "last_migrate_reason", "memcg_data")
    return runs.repeated(_tail(runs.first, names)).alias("tail")


def _tail(frame: pl.DataFrame, names: TextTables) -> pl.Series:
    migrated = _migrated(frame["last_migrate_reason"], names)
    if not names.shape.memcg or "memcg_data" not in frame.columns:
        return migrated
    rows = frame.select("memcg_data").join(names.memcgs, on="memcg_data", how="left", maintain_order="left")
    line = pl.col("memcg").fill_null("")
    charged = pl.when(line == "").then(pl.lit("")).otherwise(line + "\n")
    return rows.select(migrated + charged).to_series()


def _migrated(reasons: pl.Series, names: TextTables) -> pl.Series:
    """The line of a page that was migrated, with its newline; empty for others."""
    types, unique = names.types, reasons.unique()
    texts = [
        "" if r == types.never else f"Page has been migrated, last migrate reason: {types.reason(r)}\n"
        for r in unique.to_list()
    ]
    table = pl.DataFrame({"reason": unique, "migrated": pl.Series(texts, dtype=pl.String)})
    rows = pl.DataFrame({"reason": reasons})
    return rows.join(table, on="reason", how="left", maintain_order="left")["migrated"]


def _named(numbers: npt.NDArray[np.uint8], name: Callable[[int], str]) -> pl.Series:
    """The name of each number."""
    unique, which = np.unique(numbers, return_inverse=True)
    return pl.Series([name(number) for number in unique.tolist()], dtype=pl.String)[pl.Series(which)]
