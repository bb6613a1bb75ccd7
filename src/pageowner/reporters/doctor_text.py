# SPDX-License-Identifier: LGPL-2.1-or-later
"""``doctor`` for people: a paragraph per finding; commands to be typed stay on one line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pageowner.escape import escape
from pageowner.sources.examine import Finding

WIDTH = 80


def write_doctor_text(findings: Iterable[Finding], out: BinaryIO) -> None:
    """Write *findings* to *out*."""
    text = "".join(f"{line}\n" for finding in findings for line in _paragraph(finding))
    out.write(text.encode("utf-8", "backslashreplace"))


def _paragraph(finding: Finding) -> Iterator[str]:
    yield from _wrapped(finding.what, f"{finding.state:<6}")
    if finding.cost:
        yield from _wrapped(finding.cost, "      ")
    if finding.fix:
        yield f"      fix: {escape(finding.fix)}"


def _wrapped(text: str, start: str) -> list[str]:
    return textwrap.wrap(
        escape(text), WIDTH, initial_indent=start, subsequent_indent="      ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
