# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where kernel memory is read from."""

from typing import TYPE_CHECKING

from pageowner.sources.selection import SourceSelection

if TYPE_CHECKING:
    from pageowner.sources.opening import open_core, open_source

__all__ = ["SourceSelection", "open_core", "open_source"]


def __getattr__(name: str) -> object:
    # The command line needs only SourceSelection: opening brings drgn, and drgn takes its time.
    if name in ("open_core", "open_source"):
        from pageowner.sources import opening

        return getattr(opening, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
