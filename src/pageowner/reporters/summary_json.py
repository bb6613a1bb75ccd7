# SPDX-License-Identifier: LGPL-2.1-or-later
"""``summary --json``: one object, schema ``pageowner.summary/1``. Members are only ever added."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, BinaryIO

from pageowner.analyses.groups import grouped
from pageowner.analyses.kinds import pages_by_kind, top_owners, totals
from pageowner.analyses.unseen import unseen
from pageowner.reporters.options import SummaryOptions
from pageowner.snapshot.model import Snapshot

SCHEMA = "pageowner.summary/1"


def write_summary_json(snapshot: Snapshot, options: SummaryOptions, out: BinaryIO) -> None:
    """Write the object to *out*, sizes in pages and bytes as integers."""
    out.write(json.dumps(summary(snapshot, options), ensure_ascii=True, indent=1).encode() + b"\n")


def summary(snapshot: Snapshot, options: SummaryOptions) -> dict[str, Any]:
    """The object, for whoever else shows it."""
    coverage = asdict(snapshot.coverage)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "partial": snapshot.partial,
        "kinds": pages_by_kind(snapshot.owners).to_dicts(),
        "totals": totals(snapshot.owners, snapshot.zones),
        "counters": snapshot.counters.to_dicts(),
        "top": top_owners(snapshot.owners, options.rows).to_dicts(),
        "unseen": unseen(snapshot.owners).head(options.rows).to_dicts(),
        "coverage": coverage,
        "layers": snapshot.layers.select("word", "ok", "why").to_dicts(),
    }
    if options.part:
        document["totals"] = {"struct_pages": int(snapshot.owners["pages"].sum())}
        document["counters"] = []
    return document


def write_grouping_json(snapshot: Snapshot, by: str, options: SummaryOptions, out: BinaryIO) -> None:
    """Write ``summary --by`` to *out*: the first rows of the grouping, sizes in pages."""
    found = grouped(snapshot, by, options.rows)
    document = {
        "schema": SCHEMA,
        "by": by,
        "rows": found.rows.to_dicts(),
        "more": {"rows": found.more, **found.hidden},
        "rest": {"name": found.rest, "pages": found.rest_pages},
        "measure": found.measure,
        "total": found.total,
        "coverage": asdict(snapshot.coverage),
    }
    out.write(json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n")
