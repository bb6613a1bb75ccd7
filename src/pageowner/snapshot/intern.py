# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers for combinations of values that many rows share."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl


class Interned:
    """Gives each distinct combination of some columns a number, from 0 on; grows with what it is asked."""

    def __init__(self, name: str, schema: Mapping[str, type[pl.DataType]]) -> None:
        """:param name: of the column with the number; ``schema``: of those that it stands for."""
        self._name, self._schema = name, schema
        self.table = pl.DataFrame(schema={name: pl.Int32, **schema})
        """The number, and the values that it stands for."""

    def numbers(self, frame: pl.DataFrame) -> pl.Series:
        """The number of each row of *frame*; a column that it lacks is null."""
        present = frame.columns
        columns = [
            pl.col(name).cast(kind) if name in present else pl.lit(None, kind).alias(name)
            for name, kind in self._schema.items()
        ]
        values, on = frame.select(columns), list(self._schema)
        new = values.unique(maintain_order=True).join(
            self.table, on=on, how="anti", nulls_equal=True, maintain_order="left"
        )
        first = self.table.height
        numbered = new.select(pl.int_range(first, first + new.height, dtype=pl.Int32).alias(self._name), *on)
        self.table = pl.concat([self.table, numbered])
        found = values.join(self.table, on=on, how="left", nulls_equal=True, maintain_order="left")
        return found.get_column(self._name)
