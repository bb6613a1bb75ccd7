# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables of whatever the user named: scanned now, read from a text, or loaded from a snapshot.

What a scan takes is imported for a scan alone: it is most of the time that a snapshot on disk takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pageowner.analyses.filters import Filter
from pageowner.errors import SourceError
from pageowner.snapshot.fields import TABLES, sql_name
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.store import is_snapshot, load_snapshot
from pageowner.sources import SourceSelection
from pageowner.sources.sniff import is_text

if TYPE_CHECKING:
    from pageowner.layers.base import Layer


def read_snapshot(
    selection: SourceSelection,
    extra: tuple[type[Layer], ...] = (),
    by: Iterable[str] = (),
    pages: bool = False,
    wanted: Filter | None = None,
) -> Snapshot:
    """The tables of *selection*: see :func:`pageowner.snapshot.tables.take_snapshot`.

    :raises SourceError: when it cannot be read, or a snapshot lacks what is asked for.
    """
    if is_text(selection) and selection.path is not None:
        return _from_text(selection.path, by, wanted)
    if selection.kind != "path" or selection.path is None or not is_snapshot(selection.path):
        return _scanned(selection, extra, by, pages, wanted)
    snapshot = load_snapshot(selection.path)
    lacking = [name for name in by if name not in snapshot.groupings]
    if lacking:
        raise SourceError(f"{selection.path} was recorded without pages by {lacking[0]}")
    if not wanted:
        return snapshot
    part = _part(snapshot, wanted)
    lacking = [name for name in by if name not in part.groupings]
    if lacking:
        raise SourceError(f"{selection.path} does not say this of a part of its pages: ask its source")
    return part


def read_everything(
    selection: SourceSelection,
    extra: tuple[type[Layer], ...] = (),
    by: Iterable[str] | None = None,
    wanted: Filter | None = None,
    records: bool = False,
) -> Snapshot:
    """The tables of *selection* with every grouping that it has, and with the table of all pages.

    :param by: where a scan is needed, only these groupings.
    :param records: where a scan is needed, with the tables of all records, too.
    :raises SourceError: when it cannot be read.
    """
    if is_text(selection) and selection.path is not None:
        return _from_text(selection.path, None, wanted, records)
    if selection.kind == "path" and selection.path is not None and is_snapshot(selection.path):
        loaded = load_snapshot(selection.path)
        return _part(loaded, wanted) if wanted else loaded
    return _scanned(selection, extra, by, True, wanted, records)


def _from_text(
    path: Path, by: Iterable[str] | None, wanted: Filter | None, records: bool = False
) -> Snapshot:
    from pageowner.snapshot.from_text import text_snapshot

    return text_snapshot(path, by, wanted, records)


def _scanned(
    selection: SourceSelection,
    extra: tuple[type[Layer], ...],
    by: Iterable[str] | None,
    pages: bool,
    wanted: Filter | None,
    records: bool = False,
) -> Snapshot:
    from pageowner.snapshot.tables import take_snapshot
    from pageowner.sources import open_source

    return take_snapshot(open_source(selection), extra, by, pages, wanted, records)


def _part(snapshot: Snapshot, wanted: Filter) -> Snapshot:
    from pageowner.snapshot.part import part_of

    return part_of(snapshot, wanted)


def named_tables(snapshot: Snapshot) -> dict[str, pl.DataFrame]:
    """All tables of *snapshot* by the names that SQL and ``export`` know them by."""
    grouped = {f"by-{name}": table for name, table in snapshot.groupings.items()}
    found = {name: grouped[name] if name in grouped else getattr(snapshot, name, None) for name in TABLES}
    return {sql_name(name): table for name, table in found.items() if table is not None and table.columns}
