# SPDX-License-Identifier: LGPL-2.1-or-later
"""``check`` as lines: ``<check>: PFN 0x… <what contradicts what>``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from pageowner.escape import escape
from pageowner.snapshot.checks.run import Finding


def write_check_text(findings: Iterable[Finding], out: BinaryIO) -> None:
    """Write a line per finding, as they come."""
    for found in findings:
        page = f"PFN 0x{found.pfn:x} " if found.pfn >= 0 else ""
        out.write(f"{found.check}: {page}{escape(found.text)}\n".encode("utf-8", "backslashreplace"))


def counts_line(counts: dict[str, int], told: int) -> str:
    """``7 findings: mapcount 5, buddy 2 (-n shows more)`` for standard error."""
    total = sum(counts.values())
    each = ", ".join(f"{name} {count}" for name, count in counts.items())
    more = "; -n shows more" if told < total else ""
    return f"{total} finding{'s' if total > 1 else ''}: {each}{more}"
