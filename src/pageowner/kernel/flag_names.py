# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of bits as the target prints them, by its own ``trace_print_flags`` tables (lib/vsprintf.c)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import drgn
import numpy as np

from pageowner.kernel.target import Kernel
from pageowner.rawtext import carry

_MOST_NAMES = 128


@dataclass(frozen=True)
class FlagNames:
    """A table of (mask, name), in printing order. Masks may overlap: the first that fits takes its bits."""

    names: tuple[tuple[int, str], ...]

    def text(self, flags: int) -> str:
        """``format_flags()``: names joined by ``|``, what has no name as ``0x…``; empty for 0."""
        out = []
        for mask, name in self.names:
            if not flags:
                break
            if flags & mask == mask:
                out.append(name)
                flags &= ~mask
        if flags:
            out.append(f"0x{flags:x}")
        return "|".join(out)

    def texts(self, values: Iterable[int]) -> list[str]:
        """:meth:`text` of each of *values*: for unique ones."""
        return [self.text(value) for value in values]

    def mask(self, name: str) -> int:
        """The bits called *name*; 0 when the target has no such name."""
        return next((mask for mask, known in self.names if known == name), 0)


def read_flag_names(kernel: Kernel, table: str) -> FlagNames:
    """The table *table* (``pageflag_names``, ``gfpflag_names``, …) up to its first empty name.

    Empty when the source lacks it: flags are then printed as numbers. (7.3's gfp table has a second end mark
    behind the first; the kernel stops at the first, too.)
    """
    try:
        address = int(kernel.object(table).address_ or 0)
        dtype = kernel.dtype("struct trace_print_flags", {"mask": "mask", "name": "name"})
    except LookupError:
        return FlagNames(())
    data, _ = kernel.read_pieces(address, _MOST_NAMES * dtype.itemsize)
    rows = np.frombuffer(bytes(data), dtype)
    end = int(np.argmax(rows["name"] == 0)) if (rows["name"] == 0).any() else len(rows)
    names = kernel.read_strings(rows["name"][:end], 64)
    pairs = zip(rows["mask"][:end].tolist(), names, strict=True)
    return FlagNames(tuple((mask, carry(name)) for mask, name in pairs if name))


def read_names(kernel: Kernel, table: str, count: int | None) -> tuple[str, ...]:
    """An array of *count* C strings, such as ``migratetype_names``; empty when the source lacks it."""
    if count is None or not 0 < count <= _MOST_NAMES:
        return ()
    try:
        address = int(kernel.object(table).address_ or 0)
        pointers = np.frombuffer(kernel.read(address, count * 8), "<u8")
    except (LookupError, drgn.FaultError):
        return ()
    names = kernel.read_strings(pointers, 64)
    return tuple(carry(name or str(number)) for number, name in enumerate(names))
