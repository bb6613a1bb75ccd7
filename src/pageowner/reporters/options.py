# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a command asks of its reporter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SummaryOptions:
    """Options of ``summary``'s text: ``rows`` owners at most, and whether in colour."""

    rows: int = 10
    color: bool = False
    part: bool = False
    """Only some pages were asked for: totals and the kernel's counters, which are of all, are left out."""
