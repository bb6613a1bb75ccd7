# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sizes for people."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def human_size(size: int) -> str:
    """*size* bytes with an IEC unit and, below 100 of it, one decimal: ``1.5 MiB``."""
    value, unit = float(size), 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 1 if unit and abs(value) < 100 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"
