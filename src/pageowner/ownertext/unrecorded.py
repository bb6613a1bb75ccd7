# SPDX-License-Identifier: LGPL-2.1-or-later
"""The text of pages whose allocation nobody recorded: page_owner is off, or not built in."""

from __future__ import annotations

import polars as pl

from pageowner.kernel.gfp import read_gfp
from pageowner.kernel.migratetype import read_migrate_types
from pageowner.kernel.page_flags import read_page_flags
from pageowner.kernel.target import Kernel
from pageowner.ownertext.formats import text_shape
from pageowner.ownertext.hextext import hex_text
from pageowner.ownertext.tables import TextTables
from pageowner.ownertext.write import flags_text


def tables_without_records(kernel: Kernel, block_order: int) -> TextTables:
    """What the numbers in struct pages stand for, without stacks and memory cgroups."""
    return TextTables(
        shape=text_shape(kernel),
        gfp=read_gfp(kernel),
        flags=read_page_flags(kernel),
        types=read_migrate_types(kernel),
        block_order=block_order,
    )


def unrecorded_text(frame: pl.DataFrame, names: TextTables) -> pl.DataFrame:
    """The columns of ``kernel_text()``, from ``pfn``, ``n``, ``flags``, ``block_type``."""
    pfn = "PFN 0x" + hex_text(frame["pfn"]) if names.shape.hex_pfn else "PFN " + frame["pfn"].cast(pl.String)
    kinds = pl.Series([names.types.name(i) for i in range(256)], dtype=pl.String)
    columns = {
        "pfn": pfn,
        "block": frame["pfn"] // (1 << names.block_order),
        "type": kinds.gather(frame["block_type"].cast(pl.UInt32)),
        "flags": flags_text(frame["flags"], names),
    }
    line = pl.format("{} Block {} type {} Flags {}", *columns)
    order = frame.select(pl.col("n").log(2).round().cast(pl.Int64)).to_series()
    nothing = pl.repeat("", frame.height, dtype=pl.String, eager=True)
    return pl.DataFrame(
        {
            "header": pl.DataFrame({"order": order})
            .select(pl.format("Page of order {}, allocation not recorded", "order"))
            .to_series(),
            "pfnline": pl.DataFrame(columns).select(line).to_series(),
            "frames": nothing,
            "tail": nothing,
        }
    )
