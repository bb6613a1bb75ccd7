# SPDX-License-Identifier: LGPL-2.1-or-later
"""``check --json``: one object, schema ``pageowner.check/1``. Members are only ever added."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import BinaryIO

from pageowner.escape import escape
from pageowner.snapshot.checks.run import Finding
from pageowner.snapshot.model import Coverage

SCHEMA = "pageowner.check/1"


def write_check_json(
    findings: list[Finding], counts: dict[str, int], coverage: Coverage, out: BinaryIO
) -> None:
    """Write the object to *out*: the findings that were asked for, and how many there are of each check."""
    rows = [
        {"check": found.check, "pfn": found.pfn if found.pfn >= 0 else None, "text": escape(found.text)}
        for found in findings
    ]
    document = {"schema": SCHEMA, "findings": rows, "counts": counts, "coverage": asdict(coverage)}
    out.write(json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n")
