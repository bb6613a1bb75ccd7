# SPDX-License-Identifier: LGPL-2.1-or-later
"""What follows each PFN line, numbered: a text of millions of records has a few thousand of them."""

from __future__ import annotations

from typing import Any

import polars as pl

from pageowner.ownertext.cuts import Cuts
from pageowner.ownertext.infer import guess
from pageowner.ownertext.tail import Tail, read_tail
from pageowner.rawtext import carry

STACKS_SCHEMA: dict[str, Any] = {
    "stack": pl.UInt32,
    "frames": pl.String,
    "handle": pl.UInt32,
    "migrate_reason": pl.String,
    "memcg": pl.String,
    "objcg": pl.Boolean,
    "offline": pl.Boolean,
    "slab": pl.Boolean,
    "word": pl.String,
    "caller": pl.String,
    "module": pl.String,
    "tail": pl.String,
}
"""``frames``: the stack's lines; ``handle``, ``migrate_reason``, ``memcg``, ``objcg``, ``offline``, ``slab``:
what the lines after it say (null where they do not); ``word``, ``caller``, ``module``: inferred from the
frames (:mod:`pageowner.ownertext.infer`); ``tail``: all of it as it stands in the text."""


class Tails:
    """Numbers for the tails of all records, the same text getting the same number."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._rows: list[tuple[object, ...]] = []
        self._table = pl.DataFrame(schema=STACKS_SCHEMA)

    def ids(self, cuts: Cuts) -> pl.Series:
        """``stack`` UInt32[n]: the number of each record's tail."""
        pieces = cuts.pieces(cuts.rest, cuts.end)
        unique = pieces.unique(maintain_order=True)
        numbers = [self.number(raw) for raw in unique.to_list()]
        table = pl.DataFrame({"piece": unique, "stack": pl.Series(numbers, dtype=pl.UInt32)})
        rows = pieces.to_frame().join(table, on="piece", how="left", maintain_order="left")
        return rows.get_column("stack")

    def table(self) -> pl.DataFrame:
        """One row per number: :data:`STACKS_SCHEMA`."""
        new = self._rows[self._table.height :]
        if new:
            self._table = pl.concat([self._table, pl.DataFrame(new, schema=STACKS_SCHEMA, orient="row")])
        return self._table

    def number(self, raw: bytes) -> int:
        """The number of the tail *raw*."""
        number = self._ids.setdefault(raw, len(self._ids))
        if number == len(self._rows):
            self._rows.append((number, *_row(raw, read_tail(raw))))
        return number


def _row(raw: bytes, tail: Tail) -> tuple[object, ...]:
    found = guess(tail.frames)
    handle_only = not tail.frames and tail.handle is not None
    word = "UNKNOWN_PAGE" if handle_only else found.word
    caller = f"(stack handle {tail.handle})" if handle_only else found.owner
    return (
        carry(tail.frames),
        tail.handle,
        None if tail.migrate_reason is None else carry(tail.migrate_reason),
        None if tail.memcg is None else carry(tail.memcg),
        tail.objcg,
        tail.offline,
        tail.slab,
        word,
        caller,
        found.module,
        carry(raw),
    )
