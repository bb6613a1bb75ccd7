# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a command asks of its reporter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportOptions:
    """Options of ``report``. ``pfns`` is (first, last), both included; None is all of memory."""

    mappings: bool = False
    per_page: bool = False
    kernel_format: bool = False
    freed: bool = False
    pfns: tuple[int, int] | None = None


@dataclass(frozen=True)
class SummaryOptions:
    """Options of ``summary``'s text: ``rows`` owners at most, and whether in colour."""

    rows: int = 10
    color: bool = False
