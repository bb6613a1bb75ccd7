# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields by which page_owner_sort groups and sorts, of one piece of text at a time."""

from __future__ import annotations

import numpy as np
import polars as pl

from pageowner.ownertext.carried import carried
from pageowner.ownertext.columns import headers_by_kind
from pageowner.ownertext.cuts import FREED, I64, Cuts
from pageowner.ownertext.infer import guess
from pageowner.ownertext.tail import Tail, read_tail

CMA, SLAB, VMALLOC, OTHERS = 2, 4, 8, 16
"""Allocators, as page_owner_sort numbers them: what sorting by allocator goes by."""
_MAX = (1 << 64) - 1
_FROM_HEADER = ("pid", "tgid", "comm", "ts", "free_ts", "released")
_MOST_ORDER = 18


class StackTexts:
    """Stacks by number: ``texts``, what follows the PFN line up to the empty line; ``ator`` bits and
    ``module`` of each."""

    def __init__(self) -> None:
        self._raw: dict[bytes, int] = {}
        self._ids: dict[bytes, int] = {}
        self.texts: list[bytes] = []
        self.ator: list[int] = []
        self.module: list[str] = []

    def ids(self, cuts: Cuts) -> pl.Series:
        """``text`` UInt32[n] of each record."""
        pieces = cuts.pieces(cuts.rest, cuts.end)
        unique = pieces.unique(maintain_order=True)
        numbers = pl.Series([self._number(raw) for raw in unique.to_list()], dtype=pl.UInt32)
        table = pl.DataFrame({"piece": unique, "text": numbers})
        rows = pieces.to_frame().join(table, on="piece", how="left", maintain_order="left")
        return rows.get_column("text")

    def ranks(self) -> pl.Series:
        """For each number, its place among the texts in order of their bytes."""
        order = sorted(range(len(self.texts)), key=self.texts.__getitem__)
        ranks = np.empty(len(order), np.uint32)
        ranks[order] = np.arange(len(order), dtype=np.uint32)
        return pl.Series("rank", ranks)

    def _number(self, raw: bytes) -> int:
        number = self._raw.get(raw)
        if number is None:
            tail = read_tail(raw)
            number = self._raw[raw] = self._ids.setdefault(tail.text, len(self.texts))
            if number == len(self.texts):
                self._add(tail)
        return number

    def _add(self, tail: Tail) -> None:
        found = guess(tail.frames)
        slab = SLAB if tail.slab or found.word == "SLAB_PAGE" else 0
        self.texts.append(tail.text)
        self.ator.append(slab | (VMALLOC if _is_vmalloc(tail.frames) else 0))
        self.module.append(found.module or "vmlinux")


class Fields:
    """The columns of a record that *wanted* names: ``pid``, ``tgid``, ``comm``, ``ts``, ``free_ts``,
    ``released``, ``ator``, ``module``, ``text``, ``header``; and always ``pages``."""

    def __init__(self, wanted: frozenset[str], keep_ts: bool) -> None:
        self.stacks = StackTexts()
        self._keep_ts = keep_ts
        needs_text = wanted & {"ator", "module"}
        self._wanted = wanted | ({"text"} if needs_text else set())

    def of(self, cuts: Cuts) -> pl.DataFrame:
        """One row per record, in the text's order."""
        frame = pl.DataFrame({"pages": _pages(cuts)})
        wanted: set[str] = set(self._wanted)
        if wanted & {"header", *_FROM_HEADER}:
            frame = frame.hstack(self._of_headers(cuts))
        if "text" in wanted:
            frame = frame.with_columns(text=self.stacks.ids(cuts))
        if "module" in wanted:
            frame = frame.with_columns(module=pl.Series(self.stacks.module).gather(frame["text"]))
        if "ator" in wanted:
            frame = frame.with_columns(ator=self._allocators(cuts, frame["text"]))
        return frame.select("pages", *sorted(wanted))

    def _of_headers(self, cuts: Cuts) -> pl.DataFrame:
        header = carried(cuts.pieces(cuts.start, cuts.owner))
        frame = (header if self._keep_ts else _without_ts(header)).alias("header").to_frame()
        if self._wanted & set(_FROM_HEADER):
            frame = frame.hstack(_parsed(header, cuts))
        return frame

    def _allocators(self, cuts: Cuts, texts: pl.Series) -> pl.Series:
        """CMA by the migrate type, SLAB by flag (until 6.9), owner line, memcg line or stack, VMALLOC."""
        bits = np.array(self.stacks.ator, np.uint8)[texts.to_numpy()] if len(texts) else np.empty(0, np.uint8)
        line = cuts.pieces(cuts.pfn, cuts.rest)
        owner = cuts.pieces(cuts.owner, cuts.pfn)
        slab = line.bin.contains(b"slab") | owner.bin.starts_with(b"SLAB_PAGE")
        bits = bits | np.where(line.bin.contains(b"CMA").to_numpy(), CMA, 0)
        bits = bits | np.where(slab.to_numpy(), SLAB, 0)
        return pl.Series(np.where(bits == 0, OTHERS, bits).astype(np.uint8))


def _parsed(header: pl.Series, cuts: Cuts) -> pl.DataFrame:
    table = headers_by_kind(header, cuts)
    ts, freed = pl.col("ts_nsec").fill_null(_MAX), pl.col("free_ts_nsec").fill_null(_MAX)
    again = (pl.col("free_ts_nsec") != 0) & (pl.col("ts_nsec") < pl.col("free_ts_nsec"))
    since = pl.Series(cuts.kind == FREED) & (table.get_column("since") == "free since").fill_null(False)
    return table.select(
        pl.coalesce("pid", "free_pid", -1).alias("pid"),
        pl.coalesce("tgid", "free_tgid", -1).alias("tgid"),
        pl.col("comm").fill_null(""),
        ts.alias("ts"),
        freed.alias("free_ts"),
        (again.fill_null(False) | since).alias("released"),
    )


def _without_ts(header: pl.Series) -> pl.Series:
    return header.str.replace(r"(?s)^(.*, ts )[0-9]+( ns)", "${1}${2}")


def _pages(cuts: Cuts) -> I64:
    """2^order of each record, read where the header has it; 1 where no allocator has such an order."""
    data = np.frombuffer(cuts.data, np.uint8)
    at = cuts.start + np.array([25, 14, 26])[cuts.kind]
    digits = [data[np.minimum(at + i, len(data) - 1)].astype(np.int64) - 0x30 for i in range(3)]
    order = digits[0]
    for digit in digits[1:]:
        more = (digit >= 0) & (digit <= 9)
        order = np.where(more, order * 10 + digit, order)
        if not more.any():
            break
    return np.asarray(1 << np.where(order <= _MOST_ORDER, order, 0))


def _is_vmalloc(frames: bytes) -> bool:
    """``alloc_pages`` in the line before ``__vmalloc_node_range``: page_owner_sort's own rule."""
    before, found, _ = frames.partition(b"__vmalloc_node_range")
    lines = before.split(b"\n")
    return bool(found) and len(lines) > 1 and b"alloc_pages" in lines[-2] + b"\n" + lines[-1]
