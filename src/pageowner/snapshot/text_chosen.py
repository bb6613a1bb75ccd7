# SPDX-License-Identifier: LGPL-2.1-or-later
"""Filters at work on a page_owner text: which of its records somebody asked for."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pageowner.analyses.filters import Filter, Lookup, matching
from pageowner.errors import SourceError
from pageowner.ownertext.carried import carried
from pageowner.ownertext.chunks import chunks
from pageowner.ownertext.cuts import cut
from pageowner.ownertext.source import open_text
from pageowner.snapshot.keys import function
from pageowner.snapshot.text_owner import named_owner


class TextChosen:
    """What of a text is *wanted*: call it with the records of a piece and the table of tails so far."""

    def __init__(self, path: Path, wanted: Filter) -> None:
        """:raises SourceError: for ages in a pipe, which can be read only once."""
        self._functions = pl.DataFrame(schema={"stack": pl.UInt32, "functions": pl.String})
        self._conditions = wanted.conditions(newest(path) if wanted.by_age else 0)

    def __call__(self, records: pl.DataFrame, tails: pl.DataFrame) -> pl.DataFrame:
        """Those of *records* (:data:`pageowner.ownertext.read.RECORDS_SCHEMA`) that are wanted."""
        rows = records.select(
            "pfn", "n", "word", "pid", "tgid", "order", "gfp", "node", "stack",
            comm=pl.col("comm"),
            owner=named_owner(records, tails),
            zone_name=pl.format("zone {}", "zone"),
            migrate_type=pl.col("block_type_name"),
            youngest_ns=pl.col("ts_nsec"),
            oldest_ns=pl.col("ts_nsec"),
        )  # fmt: skip
        cgroups = tails.select("stack", pl.col("memcg").alias("cgroup"))
        lookups: dict[str, Lookup] = {
            "functions": ("stack", lambda keys: self._named(tails)),
            "cgroup": ("stack", lambda keys: cgroups),
        }
        return records.filter(matching(rows, self._conditions, lookups))

    def _named(self, tails: pl.DataFrame) -> pl.DataFrame:
        """``stack`` (number of the tail), ``functions``; those that are known are not named again."""
        new = tails.slice(self._functions.height).select("stack", "frames")
        names = [
            (stack, "\n".join(function(line) for line in frames.split("\n") if line))
            for stack, frames in new.iter_rows()
        ]
        more = pl.DataFrame(names, schema=self._functions.schema, orient="row")
        self._functions = pl.concat([self._functions, more])
        return self._functions


def newest(path: Path) -> int:
    """When the youngest record of the text was made, in ns after boot; 0 where none says."""
    if str(path) == "-" or path.is_fifo():
        raise SourceError("ages count back from the last record, and a pipe is read only once: name a file")
    found = 0
    with open_text(path) as blocks:
        for data in chunks(blocks):
            cuts = cut(data)
            stamps = carried(cuts.pieces(cuts.start, cuts.owner)).str.extract(r", ts ([0-9]{1,19}) ns")
            found = max(found, int(str(stamps.cast(pl.UInt64, strict=False).max() or 0)))
    return found
