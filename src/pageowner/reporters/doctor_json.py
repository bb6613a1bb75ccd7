# SPDX-License-Identifier: LGPL-2.1-or-later
"""``doctor --json``: one object, schema ``pageowner.doctor/1``. Members are only ever added."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import BinaryIO

from pageowner.sources.examine import Finding

SCHEMA = "pageowner.doctor/1"


def write_doctor_json(findings: Iterable[Finding], out: BinaryIO) -> None:
    """Write the object to *out*: ``findings``, each with ``state``, ``what``, ``cost``, ``fix``."""
    document = {"schema": SCHEMA, "findings": [asdict(finding) for finding in findings]}
    out.write(json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n")
