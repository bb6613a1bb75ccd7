# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots made by hand, for tests that need to know every page."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from pageowner.snapshot.fields import fields_of
from pageowner.snapshot.keys import owner_key, stack_key
from pageowner.snapshot.scan import Coverage
from pageowner.snapshot.tables import Snapshot

Row = tuple[str, str, str, int] | tuple[str, str, str, int, int]
"""Kind, owner, functions of the stack ("a < b", innermost first; "" for none), pages, reclaimable ones."""


def table(name: str, rows: Iterable[tuple[object, ...]] = ()) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={f.name: f.dtype for f in fields_of(name)}, orient="row")


def snapshot(rows: Iterable[Row], **more: object) -> Snapshot:
    """The snapshot of which *rows* are all of memory."""
    usage, cache, owners, stacks = {}, {}, {}, {}
    for word, owner, text, pages, *reclaimable in rows:
        functions = text.split(" < ") if text else []
        ids = owner_key(word, owner), stack_key(functions)
        usage[ids] = usage.get(ids, 0) + pages
        cache[ids] = cache.get(ids, 0) + sum(reclaimable)
        name = owners.get(ids[0], (ids[0], word, owner, 0))
        owners[ids[0]] = (*name[:3], name[3] + pages)
        if functions:
            frames = "\n".join(f"{function}+0x10/0x20" for function in functions)
            stacks[ids[1]] = (ids[1], frames, "\n".join(functions))
    numbers = [(*ids, 0, 0, 0, pages, 2_000, 1_000, cache[ids]) for ids, pages in usage.items()]
    return Snapshot(
        usage=table("usage", numbers),
        owners=table("owners", owners.values()),
        stacks=table("stacks", stacks.values()),
        zones=table("zones"),
        layers=table("layers"),
        counters=table("counters"),
        coverage=Coverage(),
        **more,  # type: ignore[arg-type]
    )
