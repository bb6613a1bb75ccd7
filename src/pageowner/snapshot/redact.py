# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots that may be given away: names of processes, files and cgroups, and of the host, replaced.

A name becomes a pseudonym, the same one wherever it stands in the snapshot, so grouping still works; with the
same key also in other snapshots, so they can be compared. Without a key a random one is used and forgotten.

What stays: kinds, numbers (PIDs, inodes, devices), functions and modules, caches, disks and other hardware,
file system types, the kernel's version. Owners of kinds that are not known here (layers of one's own) are
replaced as a whole: what is not known to be harmless does not get out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from pageowner.snapshot.keys import owner_key
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.pseudonyms import HARMLESS, OF_USERS, Pseudonyms
from pageowner.snapshot.redact_records import mapped, redact_allocations, redact_lines, redact_states

_NAMED = {"place": "process"}  # the column with names, where it is not called as the grouping
_BY_ID = ("obstacle",)
"""Groupings that name owners by their id."""


def redact(snapshot: Snapshot, key: bytes = b"") -> Snapshot:
    """*snapshot* without names of processes, files, cgroups and the host. Owners' ids are made anew."""
    names = Pseudonyms(key)
    told: dict[str, Callable[[str], str]] = {
        "process": names.process, "cgroup": names.cgroup, "mount": names.mount, "node": str,
        "unit": str,
    }  # fmt: skip
    owners = _owners(snapshot.owners, names)
    ids = dict(zip(snapshot.owners["id"].to_list(), owners["id"].to_list(), strict=True))
    usage = snapshot.usage.with_columns(pl.col("id").replace(ids))
    records, allocations, states = _records(snapshot, names, ids)
    return replace(
        snapshot,
        owners=owners.group_by("id", "word", "owner", maintain_order=True).agg(pl.col("pages").sum()),
        usage=usage,
        pages=_owners(snapshot.pages, names) if snapshot.pages.width else snapshot.pages,
        groupings={
            name: table.with_columns(mapped(table[_NAMED.get(name, name)], told[_NAMED.get(name, name)]))
            for name, table in snapshot.groupings.items()
            if _NAMED.get(name, name) in told  # what is not known here does not get out
        }
        | {
            name: table.with_columns(pl.col("id").replace(ids))
            for name, table in snapshot.groupings.items()
            if name in _BY_ID
        },
        records=records,
        allocations=allocations,
        states=states,
        about=_about(snapshot.about, names),
        remarks=[names.process(line) for line in snapshot.remarks],
    )


def _records(
    snapshot: Snapshot, names: Pseudonyms, ids: dict[int, int]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The tables ``records``, ``allocations`` and ``states``, where the snapshot has them."""
    records = snapshot.records
    if not records.width:
        return records, snapshot.allocations, snapshot.states
    lines = redact_lines(records.get_column("line"), names, HARMLESS, OF_USERS)
    return (
        records.with_columns(pl.col("id").replace(ids), lines),
        redact_allocations(snapshot.allocations, names),
        redact_states(snapshot.states, names),
    )


def _about(about: dict[str, str], names: Pseudonyms) -> dict[str, str]:
    """Without the host's name, and without the filter, which may name anything."""
    only = {"only": "a part of the pages"} if "only" in about else {}
    return {**about, "host": names.of("host", about.get("host", "")), **only}


def _owners(table: pl.DataFrame, names: Pseudonyms) -> pl.DataFrame:
    """*table* (``word``, ``owner``, perhaps ``id``) with new owners, and ids to match."""
    pairs = table.select("word", "owner").unique(maintain_order=True)
    new = [names.owner(*pair) for pair in pairs.iter_rows()]
    ids = [owner_key(word, name) for word, name in zip(pairs["word"], new, strict=True)]
    renamed = pairs.with_columns(
        pl.Series("new_owner", new, pl.String), pl.Series("new_id", ids, pl.Int64)
    )
    joined = table.join(renamed, on=["word", "owner"], how="left", maintain_order="left", nulls_equal=True)
    owned = joined.with_columns(pl.col("new_owner").alias("owner"))
    if "id" in table.columns:
        owned = owned.with_columns(pl.col("new_id").alias("id"))
    return owned.select(table.columns)
