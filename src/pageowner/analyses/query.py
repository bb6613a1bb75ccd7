# SPDX-License-Identifier: LGPL-2.1-or-later
"""SQL over the tables of a snapshot (polars' dialect)."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pageowner.errors import PageownerError


class QueryError(PageownerError):
    """The query cannot be answered; the text says why."""


def query(tables: Mapping[str, pl.DataFrame], text: str) -> pl.DataFrame:
    """What *text* selects from *tables*.

    :raises QueryError: one line: no SQL, or no such table, column or function.
    """
    context = pl.SQLContext(dict(tables), eager=True)
    try:
        return context.execute(text, eager=True)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, TypeError) as error:
        # PanicException is no Exception: that is how polars gives up on a few queries.
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise QueryError(f"{first}; 'pageowner sql --help' lists tables and columns") from error
