# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the screen and the scanning child say to each other. Imports nothing that takes long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pageowner.snapshot.page_name import PageName
from pageowner.sources.selection import SourceSelection

if TYPE_CHECKING:
    from pageowner.analyses.filters import Filter


@dataclass(frozen=True)
class Setup:
    """The first message to a child: what to open, and the files with layers of the user's own.

    ``ask``: it may ask for a password on the terminal.
    """

    selections: tuple[SourceSelection, ...]
    layers: tuple[Path, ...] = ()
    ask: bool = False


@dataclass(frozen=True)
class Take:
    """Scan source ``at``. The answer is a snapshot without the table of pages."""

    at: int
    wanted: Filter | None = None


@dataclass(frozen=True)
class FindPages:
    """Where one owner's pages are: see :meth:`pageowner.snapshot.rescan.Watched.pages`."""

    at: int
    word: str
    owner: str
    stack: int | None
    wanted: Filter | None = None


@dataclass(frozen=True)
class Explain:
    """Everything about one page. The answer is an ``Explanation``."""

    at: int
    page: PageName
    most_places: int = 32


Request = Take | FindPages | Explain


@dataclass(frozen=True)
class Answer:
    """``value``, or the ``error`` line; what it took: wall-clock ``seconds``, ``cpu`` seconds of the child
    since it began, its resident ``memory`` in bytes."""

    value: Any = None
    error: str | None = None
    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0


@dataclass(frozen=True)
class Opened:
    """The answer to :class:`Setup`: whether the (last) source changes while one looks."""

    live: bool
