# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Python twin of the command line: the same tables, as polars frames.

>>> import pageowner
>>> machine = pageowner.open("vmcore")
>>> machine.kinds
>>> machine.records().filter(polars.col("owner").str.starts_with("SLAB_PAGE"))
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pageowner.analyses.filters import Filter
from pageowner.analyses.kinds import pages_by_kind
from pageowner.kernel.target import Kernel
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.page_runs import SCHEMA as PAGE_SCHEMA
from pageowner.snapshot.page_runs import page_runs
from pageowner.snapshot.report import Selection, report_tables
from pageowner.snapshot.scan import Scan, open_scan
from pageowner.snapshot.tables import take_snapshot
from pageowner.sources import SourceSelection, open_source

if TYPE_CHECKING:
    from pageowner.layers.base import Layer


class Machine:
    """An opened source. Tables are made when first asked for, each by one pass over memory."""

    def __init__(self, kernel: Kernel, layers: tuple[type[Layer], ...] = ()) -> None:
        self.kernel = kernel
        """For what no table holds: ``kernel.prog`` is a plain drgn program."""
        self._layers = layers

    @cached_property
    def snapshot(self) -> Snapshot:
        """What ``pageowner summary`` shows: owners, zones, layers, counters, coverage."""
        return take_snapshot(self.kernel, self._layers)

    @property
    def kinds(self) -> pl.DataFrame:
        """``word``, ``pages``, ``bytes``: all of memory by kind, most pages first."""
        return pages_by_kind(self.snapshot.owners)

    @property
    def owners(self) -> pl.DataFrame:
        """``id``, ``word``, ``owner``, ``pages``: one row per owner, most pages first."""
        return self.snapshot.owners

    def pages(self) -> pl.DataFrame:
        """Every page as runs of one owner: ``pfn``, ``n``, ``word``, ``owner``, ``key``, by PFN."""
        scan = self._scan()
        return pl.concat(
            [pl.DataFrame(schema=PAGE_SCHEMA), *(page_runs(scan, section) for section in scan.run())]
        )

    def records(self, *, pfns: tuple[int, int] | None = None, freed: bool = False) -> pl.DataFrame:
        """What ``pageowner report`` prints, a row per record, by PFN.

        :param pfns: only blocks from the first to the second PFN, both included.
        :param freed: the last free of every record instead of its allocation.
        :returns: ``pfn``, and the texts ``header``, ``owner``, ``mapped``, ``pfnline``, ``frames``, ``tail``.
        """
        wanted = Filter(pfns=(pfns,)) if pfns else Filter()
        selection = Selection(mappings=True, freed=freed, wanted=wanted)
        tables = list(report_tables(self._scan(), selection))
        return pl.concat(tables) if tables else pl.DataFrame(schema=dict.fromkeys(_TEXTS, pl.String))

    def _scan(self) -> Scan:
        return open_scan(self.kernel, self._layers)


_TEXTS = ("pfn", "header", "owner", "mapped", "pfnline", "frames", "tail")


def open_machine(
    path: str | Path | None = None,
    *,
    demo: bool = False,
    symbols: str | Path | None = None,
    layers: tuple[type[Layer], ...] = (),
) -> Machine:
    """Open a core dump (or, with *demo*, the small core that the package carries).

    :param symbols: a vmlinux with debug information; never needed.
    :param layers: layers of your own, beside the built-in ones.
    :raises PageownerError: one line that says what is wrong and what to do.
    """
    vmlinux = Path(symbols) if symbols is not None else None
    if demo:
        selection = SourceSelection("demo", symbols=vmlinux)
    elif path is not None:
        selection = SourceSelection("path", Path(path), symbols=vmlinux)
    else:
        selection = SourceSelection("kernel", symbols=vmlinux)
    return Machine(open_source(selection), layers)
