# SPDX-License-Identifier: LGPL-2.1-or-later
"""``explain --json``: one object, schema ``pageowner.explain/1``. Members are only ever added."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import BinaryIO

from pageowner.snapshot.explain import Explanation, physical

SCHEMA = "pageowner.explain/1"


def write_explain_json(found: Explanation, out: BinaryIO) -> None:
    """Write *found* to *out*: addresses and counts as integers, names escaped as in text."""
    document = {"schema": SCHEMA, "physical": physical(found.pfn), **asdict(found)}
    document["refs"]["unknown"] = found.refs.unknown
    document["details"] = [{"title": title, "text": text} for title, text in found.details]
    out.write(json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n")
