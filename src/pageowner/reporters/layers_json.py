# SPDX-License-Identifier: LGPL-2.1-or-later
"""``layers --json``: one object, schema ``pageowner.layers/1``. Members are only ever added."""

from __future__ import annotations

import json
from typing import BinaryIO

import polars as pl

SCHEMA = "pageowner.layers/1"


def write_layers_json(layers: pl.DataFrame, out: BinaryIO) -> None:
    """Write the rows of :func:`pageowner.snapshot.layer_table.layers_at_work` to *out*."""
    document = {"schema": SCHEMA, "layers": layers.to_dicts()}
    out.write(json.dumps(document, ensure_ascii=True, indent=1).encode() + b"\n")
