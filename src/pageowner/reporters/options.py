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
    """Options of ``summary``: ``rows`` owners at most; JSON instead of text; colour in the text."""

    json: bool = False
    rows: int = 10
    color: bool = False
