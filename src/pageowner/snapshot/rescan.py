# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sources that are looked at again and again: opened once, scanned as often as one likes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import drgn
import polars as pl

from pageowner.analyses.filters import Filter
from pageowner.errors import LayoutError, PageownerError, SourceError
from pageowner.kernel.target import Kernel
from pageowner.layers.base import Layer
from pageowner.snapshot.explain import Explanation, explain
from pageowner.snapshot.find_pages import FOUND_SCHEMA, find_pages
from pageowner.snapshot.keys import NOTHING, owner_key
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.page_address import find_page
from pageowner.snapshot.page_name import PageName
from pageowner.snapshot.reading import read_everything
from pageowner.snapshot.scan import open_scan
from pageowner.snapshot.store import MANIFEST, is_snapshot
from pageowner.snapshot.tables import take_snapshot
from pageowner.snapshot.tallies import TALLIES
from pageowner.sources import SourceSelection, open_source
from pageowner.sources.own_pages import OwnPages
from pageowner.sources.sniff import is_text
from pageowner.symbols.walk import walk_list

GROUPINGS = ("process", "cgroup", "mount")
"""What is counted at every look beside owners, stacks and nodes."""

_MOST_MODULES = 10_000


@dataclass
class _Opened:
    """A kernel, and the names of the modules whose symbols it knows."""

    selection: SourceSelection
    kernel: Kernel
    modules: list[bytes]
    groupings: tuple[str, ...]


class Watched:
    """One source, or a series of them. At most one kernel is open at a time.

    :param extra: layers of the user's own.
    """

    def __init__(self, selections: Sequence[SourceSelection], extra: tuple[type[Layer], ...] = ()) -> None:
        self.selections = tuple(selections)
        self._extra = extra
        self._opened: _Opened | None = None

    def open(self, at: int = 0) -> bool:
        """Open source *at*; whether its memory changes while one looks.

        :raises PageownerError: one line.
        """
        return False if self.stored(at) else self._kernel(at).live

    def stored(self, at: int) -> bool:
        """Whether source *at* is already digested: a snapshot or a page_owner text."""
        selection = self.selections[at]
        if is_text(selection):
            return True
        return selection.kind == "path" and selection.path is not None and is_snapshot(selection.path)

    def take(self, at: int, wanted: Filter | None = None) -> Snapshot:
        """The tables of source *at* now, with :data:`GROUPINGS` and without the table of pages.

        :param wanted: of these pages only.
        :raises PageownerError: one line.
        """
        if self.stored(at):
            stored, empty = read_everything(self.selections[at], wanted=wanted), pl.DataFrame()
            return replace(stored, pages=empty, records=empty, allocations=empty, states=empty)
        try:
            kernel = self._fresh(at)
            groupings = self._opened.groupings if self._opened else ()
            return take_snapshot(kernel, self._extra, groupings, wanted=wanted)
        except OSError as error:
            raise self._gone(at, error) from error

    def pages(
        self, at: int, word: str, owner: str, stack: int | None, wanted: Filter | None = None
    ) -> pl.DataFrame:
        """Where the pages of one owner are (:data:`pageowner.snapshot.find_pages.FOUND_SCHEMA`).

        :param stack: only those that this stack allocated; a snapshot without records cannot tell.
        :param wanted: of these pages only.
        """
        if self.stored(at):
            return _stored_pages(read_everything(self.selections[at], wanted=wanted), word, owner, stack)
        try:
            return find_pages(open_scan(self._fresh(at), self._extra), word, owner, stack, wanted)
        except OSError as error:
            raise self._gone(at, error) from error

    def explain(self, at: int, name: PageName, most_places: int) -> Explanation:
        """All that can be told about one page.

        :raises PageownerError: one line, when *name* leads to no page or the source has no memory.
        """
        if self.stored(at):
            raise PageownerError(
                f"{self.selections[at].path} has no memory, only tables: explain pages on their source"
            )
        try:
            scan = open_scan(self._fresh(at), self._extra)
            return explain(scan, find_page(scan.kernel, scan.sections, name), most_places)
        except OSError as error:
            raise self._gone(at, error) from error

    def _fresh(self, at: int) -> Kernel:
        """The kernel of source *at*, knowing nothing that may have changed since it was last looked at."""
        kernel = self._kernel(at)
        return fresh(kernel) if kernel.live else kernel

    def _kernel(self, at: int) -> Kernel:
        selection, opened = self.selections[at], self._opened
        if opened is None or opened.selection != selection:
            self._opened = opened = _open(selection)
        elif opened.kernel.live and not _is_same(opened):
            self._opened = opened = self._again(opened)
        return opened.kernel

    def _again(self, opened: _Opened) -> _Opened:
        """*opened* anew: the guest has booted again, or modules were loaded whose symbols are not known."""
        self._opened = None  # a QEMU serves one connection at a time
        if opened.selection.kind == "qemu":
            return _open(opened.selection)
        try:
            return _open(opened.selection)
        except SourceError:  # without the password of sudo: then new modules stay without names
            return opened

    def _gone(self, at: int, error: OSError) -> SourceError:
        """drgn says so when a guest has ended; the next look is at whoever is there then."""
        self._opened = None
        selection = self.selections[at]
        name = selection.address or selection.path or selection.kind
        return SourceError(f"{name}: its memory cannot be read any more ({error.strerror or error})")


def _stored_pages(snapshot: Snapshot, word: str, owner: str, stack: int | None) -> pl.DataFrame:
    if snapshot.records.width:
        id = owner_key(word, owner)
        mine = snapshot.records.filter(pl.col("id") == id).select("pfn", "n", "allocation", "ts_nsec")
        known = mine.join(snapshot.allocations, on="allocation", how="left").sort("pfn")
        if stack is not None:
            known = known.filter(pl.col("stack").fill_null(NOTHING) == stack)
        return known.rename({"n": "pages"}).select(pl.col(n).cast(kind) for n, kind in FOUND_SCHEMA.items())
    if not snapshot.pages.width:
        raise PageownerError("this source does not say which pages are whose")
    mine = snapshot.pages.filter((pl.col("word") == word) & (pl.col("owner") == owner))
    lacking = [pl.lit(None, kind).alias(name) for name, kind in FOUND_SCHEMA.items()][2:]
    return mine.select("pfn", pl.col("n").alias("pages"), *lacking)


def fresh(kernel: Kernel) -> Kernel:
    """*kernel* without what was worked out of its memory before; its types and symbols stay."""
    again = Kernel(kernel.prog, kernel.symbols, kernel.vmcoreinfo)
    again.notes, again.last_words = list(kernel.notes), list(kernel.last_words)
    again.partial, again.live, again.excluded = kernel.partial, kernel.live, kernel.excluded
    again.own_pages = OwnPages().pfns if kernel.own_pages else None
    return again


def _open(selection: SourceSelection) -> _Opened:
    kernel = open_source(selection)
    return _Opened(selection, kernel, _modules(kernel), _groupings(kernel))


def _groupings(kernel: Kernel) -> tuple[str, ...]:
    """Those of :data:`GROUPINGS` that this kernel has."""
    with suppress(LayoutError):  # no CONFIG_MEMCG: no cgroups
        TALLIES["cgroup"](open_scan(kernel))
        return GROUPINGS
    return tuple(name for name in GROUPINGS if name != "cgroup")


def _is_same(opened: _Opened) -> bool:
    """Whether the kernel is still the one that was opened, with the same modules."""
    kernel = opened.kernel
    try:
        release = kernel.object("init_uts_ns").name.release.string_()
    except (LookupError, drgn.FaultError, OSError):
        return False
    expected = kernel.vmcoreinfo.others.get("OSRELEASE", "").encode("utf-8", "surrogateescape")
    return expected in (b"", release) and _modules(kernel) == opened.modules


def _modules(kernel: Kernel) -> list[bytes]:
    """The names of the loaded modules; an empty list where they cannot be read."""
    try:
        head = kernel.object("modules")
        found = walk_list(head, "struct module", "list", _MOST_MODULES, [])
        return [module.name.string_() for module in found]
    except (LookupError, AttributeError, drgn.FaultError, OSError):
        return []


def created(selection: SourceSelection) -> datetime | None:
    """When a snapshot was recorded; None for what is none, or does not say."""
    if selection.kind != "path" or selection.path is None:
        return None
    try:
        return datetime.fromisoformat(json.loads((selection.path / MANIFEST).read_text())["created"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
