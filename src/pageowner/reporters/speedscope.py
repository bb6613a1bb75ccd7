# SPDX-License-Identifier: LGPL-2.1-or-later
"""A profile for https://www.speedscope.app: one sampled profile, weights in bytes, frames shared."""

from __future__ import annotations

import json
from typing import BinaryIO

import polars as pl

from pageowner import __version__
from pageowner.analyses.flame import by_stack
from pageowner.analyses.kinds import PAGE_BYTES

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def write_speedscope(weighted: pl.DataFrame, name: str, out: BinaryIO) -> None:
    """Write *weighted* (:func:`pageowner.analyses.flame.weighted_stacks`) as a profile called *name*."""
    numbers: dict[str, int] = {}
    samples, weights = [], []
    for functions, pages in by_stack(weighted).iter_rows():
        samples.append([numbers.setdefault(function, len(numbers)) for function in reversed(functions)])
        weights.append(pages * PAGE_BYTES)
    profile = {
        "type": "sampled",
        "name": name,
        "unit": "bytes",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }
    document = {
        "$schema": SCHEMA,
        "exporter": f"pageowner@{__version__}",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": function} for function in numbers]},
        "profiles": [profile],
    }
    out.write(json.dumps(document, ensure_ascii=True).encode() + b"\n")
