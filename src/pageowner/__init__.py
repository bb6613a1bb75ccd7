# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who owns every page of a Linux machine's physical memory. See :func:`open`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pageowner.errors import LayoutError, PageownerError, SourceError, SymbolsError

if TYPE_CHECKING:
    from pageowner.api import Machine
    from pageowner.layers.base import Layer

__version__ = "0.1.0"
__all__ = ["LayoutError", "PageownerError", "SourceError", "SymbolsError", "__version__", "open"]


def open(
    path: str | Path | None = None,
    *,
    demo: bool = False,
    symbols: str | Path | None = None,
    layers: tuple[type[Layer], ...] = (),
) -> Machine:
    """Open a core dump (or, with *demo*, the small core that the package carries).

    :param symbols: a vmlinux with debug information; never needed.
    :param layers: layers of your own, beside the built-in ones.
    :returns: a :class:`pageowner.api.Machine`, whose tables are polars frames.
    :raises PageownerError: one line that says what is wrong and what to do.
    """
    from pageowner.api import open_machine  # not before: the command line must start fast

    return open_machine(path, demo=demo, symbols=symbols, layers=layers)
