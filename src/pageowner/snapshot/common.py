# SPDX-License-Identifier: LGPL-2.1-or-later
"""What owners are called on every host: the table that snapshots of many hosts and boots join on."""

from __future__ import annotations

import polars as pl

from pageowner.analyses.names import stable_name
from pageowner.snapshot.keys import owner_key

NAME_SCHEMA = {"id": pl.Int64, "name": pl.String, "key": pl.Int64}


def common_names(owners: pl.DataFrame) -> pl.DataFrame:
    """``id`` of each of *owners*, its ``name`` without what is of one boot only, and the ``key`` of both kind
    and that name, which owners of several processes may share."""
    named = owners.select("id", "word", stable_name(pl.col("word"), pl.col("owner")).alias("name"))
    keys = [owner_key(word, name) for word, name in named.select("word", "name").iter_rows()]
    return named.select("id", "name", pl.Series("key", keys, pl.Int64))
