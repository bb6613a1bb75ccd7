# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots on disk: a directory of Parquet files and a manifest.

The rules, each with a test:

* The directory appears whole or not at all: it is written under another name and renamed.
* ``manifest.json`` says which version of the format it is; every version up to ours loads.
* A table is a file ``<name>.parquet``; a grouping ``by-<name>.parquet``. Unknown files and columns are
  ignored; a column that an older version did not have is null.
* A file that is damaged or missing is one clear error, never half a result: the manifest has the digest of
  every file, so that no reader gets to see damage.

What no rule covers: somebody who writes damage on purpose, with digests to match. Most of that is the same
clear error, but polars asks for as much memory as a header says, and ends the process when it gets none.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from pageowner import __version__
from pageowner.errors import PageownerError, SourceError
from pageowner.snapshot.fields import RECORD_TABLES, fields_of
from pageowner.snapshot.fields import TABLES as ALL_TABLES
from pageowner.snapshot.model import Coverage, Snapshot

FORMAT = "pageowner.snapshot"
VERSION = 2
"""2 added ``records``, ``allocations`` and ``states``, which need not be there."""
MANIFEST = "manifest.json"
_GROUPING = "by-"
_DERIVED = ("names",)
"""Written for those who read the files themselves; here it follows from another table."""
TABLES = tuple(name for name in ALL_TABLES if not name.startswith(_GROUPING))


def is_snapshot(path: Path) -> bool:
    """Whether *path* is a directory that holds a snapshot."""
    return (path / MANIFEST).is_file()


def save_snapshot(snapshot: Snapshot, directory: Path, force: bool = False) -> int:
    """Write *snapshot* to *directory*, which must not exist (or, with *force*, may be an older snapshot).

    :returns: bytes written.
    :raises PageownerError: when it exists, or cannot be written.
    """
    check_target(directory, force)
    draft = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True)
        _write_tables(snapshot, draft)
        manifest = _manifest(snapshot) | {"files": {file.name: digest(file) for file in draft.iterdir()}}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        size = sum(file.stat().st_size for file in draft.iterdir())
        _replace(draft, directory)
    except OSError as error:
        raise PageownerError(f"cannot write {directory}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return size


def load_snapshot(directory: Path) -> Snapshot:
    """The snapshot in *directory*.

    :raises SourceError: one line, when it is none, is newer than this version, or is damaged.
    """
    manifest = _read_manifest(directory)
    files = manifest["files"]
    tables = {name: _read_table(directory, name, files) for name in TABLES}
    for name in _DERIVED:
        del tables[name]
    known = {field.name for field in fields(Coverage)}
    coverage = {k: v for k, v in manifest["coverage"].items() if k in known and isinstance(v, int)}
    return Snapshot(
        **tables,
        coverage=Coverage(**coverage),
        groupings={str(n): _read_table(directory, f"{_GROUPING}{n}", files) for n in manifest["groupings"]},
        about={str(k): str(v) for k, v in manifest["about"].items()},
        partial=bool(manifest["partial"]),
        remarks=[str(line) for line in manifest["remarks"]],
    )


def check_target(directory: Path, force: bool) -> None:
    """Whether a snapshot may be written to *directory*. Raises ``PageownerError`` if not."""
    if not directory.exists():
        return
    if not force:
        raise PageownerError(f"{directory} exists; use -f to overwrite it, or another name")
    if not is_snapshot(directory):
        raise PageownerError(f"{directory} is no snapshot: it is not overwritten")


def _write_tables(snapshot: Snapshot, draft: Path) -> None:
    for name in TABLES:
        table = getattr(snapshot, name)
        if table.width or name not in RECORD_TABLES:
            table.write_parquet(draft / f"{name}.parquet", compression="zstd")
    for name, table in snapshot.groupings.items():
        table.write_parquet(draft / f"{_GROUPING}{name}.parquet", compression="zstd")


def _replace(draft: Path, directory: Path) -> None:
    old = directory.with_name(f".{directory.name}.old.{secrets.token_hex(4)}")
    if directory.exists():
        os.rename(directory, old)
    os.rename(draft, directory)
    shutil.rmtree(old, ignore_errors=True)


def _manifest(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "pageowner": __version__,
        "about": snapshot.about,
        "coverage": asdict(snapshot.coverage),
        "partial": snapshot.partial,
        "remarks": snapshot.remarks,
        "groupings": sorted(snapshot.groupings),
    }


def _read_manifest(directory: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        shape = {
            "coverage": dict,
            "files": dict,
            "groupings": list,
            "about": dict,
            "partial": bool,
            "remarks": list,
            "version": int,
        }
        sound = manifest["format"] == FORMAT and all(isinstance(manifest[k], v) for k, v in shape.items())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"{directory} is no snapshot, or its {MANIFEST} is damaged") from error
    if not sound:
        raise SourceError(f"{directory} is no snapshot, or its {MANIFEST} is damaged")
    if manifest["version"] > VERSION:
        raise SourceError(
            f"{directory} was written by a newer pageowner (format {manifest['version']}): update this one"
        )
    return dict(manifest)


def _read_table(directory: Path, name: str, files: dict[str, str]) -> pl.DataFrame:
    path = directory / f"{name}.parquet"
    if Path(name).name != name:
        raise SourceError(f"{directory / MANIFEST} names a table outside of it")
    if name in (*RECORD_TABLES, *_DERIVED) and path.name not in files:
        return pl.DataFrame()
    try:
        if digest(path) != files.get(path.name):
            raise SourceError(f"{path} is damaged: the snapshot cannot be used")
        return _known_columns(pl.read_parquet(path), name)
    except (OSError, MemoryError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        # PanicException is no Exception: polars' Parquet reader gives up that way on some damage.
        raise SourceError(f"{path} is missing or damaged: the snapshot cannot be used") from error


def digest(path: Path) -> str:
    """What the manifest has to say of the file at *path*."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _known_columns(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """*table* with exactly the columns of the field table; those that it lacks are null.

    :raises PolarsError: when a column cannot be what it should be.
    """
    known = fields_of(name)
    lacking = [pl.lit(None).alias(field.name) for field in known if field.name not in table.columns]
    columns = [pl.col(field.name).cast(field.dtype) for field in known]
    return table.with_columns(lacking).select(columns) if known else table
