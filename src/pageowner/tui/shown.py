# SPDX-License-Identifier: LGPL-2.1-or-later
"""Text for the screen: what users named must neither move the cursor nor pass for anything else."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from pageowner.rawtext import escape_carried

_SMALL_UNITS = ("B", "K", "M", "G", "T", "P")


def shown(text: str) -> str:
    r"""*text* (perhaps carried) with all that is not printable as ``\ooo``, byte by byte: control characters
    of both ASCII and Unicode (U+009B begins a sequence on some terminals), text direction, line breaks."""
    escaped = escape_carried(text)
    if escaped.isprintable():
        return escaped
    return "".join(c if c.isprintable() else "".join(f"\\{b:03o}" for b in c.encode()) for c in escaped)


def fit(text: str, width: int) -> str:
    """*text* in exactly *width* cells, with ``…`` at its end when it is cut."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def small_size(size: float) -> str:
    """*size* bytes in five characters or fewer: ``40M``, ``1.5G``."""
    unit = 0
    while size >= 1000 and unit < len(_SMALL_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    digits = 1 if unit and size < 10 else 0
    return f"{size:.{digits}f}{_SMALL_UNITS[unit]}"
