# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables behind ``report``: per section, one row per record, its texts in columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from pageowner.analyses.filters import Filter
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.ownertext.tables import Texts, TextTables
from pageowner.ownertext.unrecorded import tables_without_records, unrecorded_text
from pageowner.ownertext.write import freed_text, kernel_text
from pageowner.rawtext import escape_carried, visible_lines
from pageowner.snapshot.chosen import Chosen
from pageowner.snapshot.lines import OwnerLines
from pageowner.snapshot.reported import Reported
from pageowner.snapshot.scan import Scan, SectionScan


@dataclass(frozen=True)
class Selection:
    """Which records, and what of them. ``wanted``: a filter; a block's first page has to match it, and any
    of its pages a range of page frames.

    ``owners``: the line that says what the page is; ``mappings``: who maps it; ``per_page``: a line per
    page of a mixed block; ``paths``: files by path, too; ``freed``: the last-free half instead of the
    allocation; ``visible_comm``: control characters in names as ``\\ooo``, for a terminal.
    """

    owners: bool = True
    mappings: bool = False
    per_page: bool = False
    paths: bool = False
    freed: bool = False
    visible_comm: bool = False
    wanted: Filter = field(default_factory=Filter)


def report_tables(scan: Scan, selection: Selection) -> Iterator[pl.DataFrame]:
    """One frame per section: ``pfn``, and String columns ``header``, ``owner``, ``mapped``, ``pfnline``,
    ``frames``, ``tail``, in the order in which they are printed.

    ``owner`` and ``mapped`` hold any number of lines, each with its newline; "" where not asked for.
    """
    yield from _Reporter(scan, selection).tables()


class _Reporter:
    def __init__(self, scan: Scan, selection: Selection) -> None:
        self.scan, self.selection = scan, selection
        self.reported = Reported(scan, selection.freed)
        self.lines = OwnerLines(scan, selection.paths)

    @cached_property
    def texts(self) -> Texts:
        return Texts(self.scan.kernel, self.reported.blocks.order)

    @cached_property
    def names(self) -> TextTables:
        return tables_without_records(self.scan.kernel, self.reported.blocks.order)

    def tables(self) -> Iterator[pl.DataFrame]:
        wanted = self.selection.wanted
        chosen = Chosen(self.scan, wanted) if wanted else None
        for section in self.scan.run(*wanted.reach):
            records = self.reported.of(section)
            if chosen is not None and records.height:
                records = chosen.records(section, records)
            if records.height:
                yield self._texts(section, records)

    def _texts(self, section: SectionScan, records: pl.DataFrame) -> pl.DataFrame:
        nothing = pl.repeat("", records.height, dtype=pl.String, eager=True)
        owner = self._owner(section, records) if self.selection.owners else nothing
        mapped = self._mapped(records) if self.selection.mappings else nothing
        text = self._kernel_text(self._visible(records))
        if self.selection.visible_comm:
            text = text.with_columns(visible_lines(text.get_column("tail")))
        return pl.DataFrame(
            [
                records.get_column("pfn"),
                text.get_column("header"),
                owner.alias("owner"),
                mapped.alias("mapped"),
                text.get_column("pfnline"),
                text.get_column("frames"),
                text.get_column("tail"),
            ]
        )

    def _kernel_text(self, records: pl.DataFrame) -> pl.DataFrame:
        if not self.reported.recorded:
            return unrecorded_text(records, self.names)
        if self.selection.freed:
            return freed_text(records, self.texts.tables(records, "free_handle"))
        return kernel_text(records, self.texts.tables(records))

    def _visible(self, records: pl.DataFrame) -> pl.DataFrame:
        if not self.selection.visible_comm or "comm" not in records.columns:
            return records
        unique = records.get_column("comm").unique()
        shown = [escape_carried(comm) for comm in unique]
        return records.with_columns(pl.col("comm").replace_strict(unique, shown, return_dtype=pl.String))

    def _owner(self, section: SectionScan, records: pl.DataFrame) -> pl.Series:
        if self.selection.per_page:
            return self._per_page(section, records)
        return self.lines.of_blocks(section, records, "\n")

    def _per_page(self, section: SectionScan, records: pl.DataFrame) -> pl.Series:
        """Every page of a block has its line, where they differ by more than where they are mapped."""
        whole = self.lines.of_blocks(section, records)
        mixed = whole.str.contains(r" \+\d+ pages of \d+ other owners$")
        if not mixed.any():
            return whole + "\n"
        pages = records.filter(mixed).select(
            pl.int_ranges(pl.col("pfn"), pl.col("pfn") + pl.col("n")).alias("page"), pl.exclude("n")
        )
        each = pages.explode("page").with_columns(
            pl.col("pfn").alias("block"), pl.lit(1, pl.Int64).alias("n")
        )
        lines = self.lines.of_pages(section, each.with_columns(pl.col("page").alias("pfn")))
        joined = (
            each.select("block", lines.alias("line"))
            .group_by("block", maintain_order=True)
            .agg(pl.col("line").str.join("\n"))
        )
        merged = records.select("pfn", whole.alias("whole")).join(
            joined, left_on="pfn", right_on="block", how="left", maintain_order="left"
        )
        return merged.get_column("line").fill_null(merged.get_column("whole")) + "\n"

    def _mapped(self, records: pl.DataFrame) -> pl.Series:
        memory: ProcessMemory = self.scan.kernel.memo(read_process_memory)
        return memory.mapped_lines(records.get_column("pfn").to_numpy(), records.get_column("n").to_numpy())
