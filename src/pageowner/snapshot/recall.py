# SPDX-License-Identifier: LGPL-2.1-or-later
"""``explain`` of a snapshot: what was stored of one page, and what was not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pageowner.errors import SourceError
from pageowner.escape import escape
from pageowner.rawtext import to_bytes
from pageowner.snapshot.explain_record import Event, Record
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.page_name import PageName

NOT_STORED = "who else uses it, where it is mapped, its references, the last free"
_PAGE_SHIFT = 12


@dataclass(frozen=True)
class Recalled:
    """What a snapshot holds of page ``pfn``. ``line``: the owner line of its block, "" within one;
    ``first`` and ``pages``: the run of pages that are alike, with ``word`` and ``owner``; ``place``,
    ``flags`` and ``memcg`` in words, "" where not stored; ``recorded``: whether any records were stored."""

    pfn: int
    word: str
    owner: str
    line: str
    first: int
    pages: int
    place: str
    flags: str
    memcg: str
    recorded: bool
    record: Record | None


def recall(snapshot: Snapshot, name: PageName, path: Path) -> Recalled:
    """What *snapshot* holds of the page called *name*.

    :param path: of the snapshot, for errors.
    :raises SourceError: when it holds no pages, not this one, or cannot tell which one is meant.
    """
    pfn = _pfn(name, path)
    detailed = snapshot.records.width > 0
    table = snapshot.records if detailed else snapshot.pages
    if not table.width:
        raise SourceError(f"{path} does not say where its pages are: record it anew")
    found = table.filter(pl.col("pfn") <= pfn, pl.col("pfn") + pl.col("n") > pfn)
    if not found.height:
        raise SourceError(f"{path} has no page 0x{pfn:x}")
    if not detailed:
        row = found.row(0, named=True)
        run = (row["pfn"], row["n"])
        return Recalled(pfn, str(row["word"]), str(row["owner"]), "", *run, "", "", "", False, None)
    return _recalled(snapshot, found, pfn)


def _pfn(name: PageName, path: Path) -> int:
    if name.kind == "pfn":
        return name.number
    if name.kind == "phys":
        return name.number >> _PAGE_SHIFT
    raise SourceError(f"{path} is a snapshot, which holds no page tables: give the PFN or phys:0x…")


def _recalled(snapshot: Snapshot, found: pl.DataFrame, pfn: int) -> Recalled:
    row = found.row(0, named=True)
    owner = snapshot.owners.filter(id=row["id"]).row(0, named=True)
    state = snapshot.states.filter(state=row["state"]).row(0, named=True)
    zone = snapshot.zones.filter(node=state["node"], zone_index=state["zone"]).get_column("zone")
    block = pfn >> int(snapshot.about.get("block_order", "9"))
    where = f"node {state['node']}, zone {zone[0] if len(zone) else state['zone']}, pageblock {block}"
    offline = ", offline" if state["cgroup_state"] == "dying" else ""
    return Recalled(
        pfn=pfn,
        word=str(owner["word"]),
        owner=str(owner["owner"]),
        line=str(row["line"] or ""),
        first=int(row["pfn"]),
        pages=int(row["n"]),
        place=f"{where} of type {state['migrate_type']}",
        flags=str(state["flags_text"] or ""),
        memcg=f"{state['cgroup']}{offline}" if state["cgroup"] else "",
        recorded=True,
        record=None if row["allocation"] is None else _record(snapshot, row, pfn),
    )


def _record(snapshot: Snapshot, row: dict[str, object], pfn: int) -> Record:
    made = snapshot.allocations.filter(allocation=row["allocation"]).row(0, named=True)
    comm, stamp, order = made["comm"], row["ts_nsec"], int(made["order"])
    return Record(
        allocated=True,
        first=pfn >> order << order,
        order=order,
        gfp=f"0x{made['gfp_mask']:x}({made['gfp']})",
        migrated=str(made["migrated"] or ""),
        allocation=Event(
            pid=made["pid"],
            tgid=made["tgid"],
            comm=None if comm is None else escape(to_bytes(str(comm)), "()"),
            ts=stamp if isinstance(stamp, int) else None,
            stack=[escape(line) for line in str(made["frames"]).splitlines()],
            note="",
        ),
        freed=None,
    )
