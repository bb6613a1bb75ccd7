# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stacks behind handles of the stack depot: read, named and keyed once each."""

from __future__ import annotations

import numpy as np
import polars as pl

from pageowner.kernel.stackdepot import StackDepot
from pageowner.kernel.target import Kernel
from pageowner.snapshot.keys import function, stack_key

SCHEMA = {"handle": pl.UInt32, "stack": pl.Int64, "frames": pl.String, "functions": pl.String}


class StackNames:
    """Grows with the handles that it is asked for. One serves a kernel: ``kernel.memo(StackNames)``."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._known = pl.DataFrame(schema=SCHEMA)

    def table(self, handles: pl.Series) -> pl.DataFrame:
        """A row for each of *handles* (unique ones) that is not 0.

        :returns: ``handle``, ``stack`` (its key), ``frames`` (``%pS`` texts), ``functions`` (what the key
            is of), in no order.
        """
        wanted = handles.cast(pl.UInt32).filter(handles != 0).alias("handle")
        new = wanted.filter(~wanted.is_in(self._known.get_column("handle").implode()))
        if len(new):
            self._known = pl.concat([self._known, self._read(new)])
        return self._known.filter(pl.col("handle").is_in(wanted.implode()))

    def _read(self, handles: pl.Series) -> pl.DataFrame:
        found = self._kernel.memo(StackDepot).stacks(handles.sort().to_numpy())
        unique, inverse = np.unique(found.frames, return_inverse=True)
        texts = self._kernel.symbols.symbolize(unique)
        functions = [function(text) for text in texts]
        rows, bounds = [], found.start.tolist()
        for handle, low, high in zip(found.handle.tolist(), bounds[:-1], bounds[1:], strict=True):
            frames = inverse[low:high].tolist()
            names = [functions[i] for i in frames]
            rows.append((handle, stack_key(names), "\n".join(texts[i] for i in frames), "\n".join(names)))
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")
