# SPDX-License-Identifier: LGPL-2.1-or-later
"""``explain`` of a snapshot: what was stored of a page, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import BinaryIO

from pageowner.escape import one_line
from pageowner.reporters.explain_json import SCHEMA
from pageowner.reporters.explain_text import record_lines, row_lines, wrapped
from pageowner.snapshot.explain import physical
from pageowner.snapshot.recall import NOT_STORED, Recalled


def write_recalled_text(found: Recalled, out: BinaryIO) -> None:
    """Write *found* to *out*."""
    out.write("\n".join(_lines(found)).encode("utf-8", "backslashreplace") + b"\n")


def _lines(found: Recalled) -> Iterator[str]:
    yield f"PFN 0x{found.pfn:x} ({found.pfn}), phys:0x{physical(found.pfn):x}"
    yield from wrapped(one_line(found.line or found.word), "", "  ")
    yield ""
    yield from row_lines("owner", one_line(found.owner))
    if found.pages > 1:
        of = f"{found.pfn - found.first} of {found.pages} that are alike, from PFN 0x{found.first:x}"
        yield from row_lines("page", of)
    for title, text in (("place", found.place), ("flags", found.flags), ("memcg", found.memcg)):
        if text:
            yield from row_lines(title, one_line(text))
    yield from row_lines("not stored", NOT_STORED if found.recorded else f"its allocation; {NOT_STORED}")
    if found.recorded:
        yield from record_lines(found.record)


def write_recalled_json(found: Recalled, out: BinaryIO) -> None:
    """Write *found* to *out*: schema ``pageowner.explain/1``, of which a snapshot has these members."""
    document = {"schema": SCHEMA, "physical": physical(found.pfn), "stored": True, **asdict(found)}
    out.write(json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n")
