# SPDX-License-Identifier: LGPL-2.1-or-later
"""A symbol table from vmlinux's own, for a kernel without kallsyms."""

from __future__ import annotations

import numpy as np
from drgn import Program, Symbol, SymbolBinding, SymbolKind

from pageowner.symbols.kallsyms import Kallsyms, in_address_order

# What scripts/kallsyms.c leaves out, as far as it is in vmlinux.
_IGNORED = ("$", ".L", "L0", "__crc_", "__kstrtab_", "__kstrtabns_", "__pi_")
# Absolute in vmlinux: KASLR does not move them, so they may land in the middle of the moved text. _end, too.
_ABSOLUTE = ("init_per_cpu__",)
_NO_SYMBOLS = (SymbolKind.FILE, SymbolKind.SECTION)


def debug_file_kallsyms(prog: Program) -> Kallsyms | None:
    """The symbols of the debug information that *prog* has loaded; None if it has none.

    Without ``_end``, the text alone is named. Nearly what the kernel would print: which of the aliases at an
    address comes first may differ.
    """
    symbols = [one for one in prog.symbols() if one.name and not _left_out(one)]
    if not symbols:
        return None
    addresses = np.array([one.address for one in symbols], np.uint64)
    letters = "".join(map(_letter, symbols)).encode()
    return in_address_order(Kallsyms(addresses, [one.name for one in symbols], letters))


def _left_out(symbol: Symbol) -> bool:
    if symbol.kind in _NO_SYMBOLS or symbol.name == "_end":
        return True
    return bool(symbol.name.startswith(_IGNORED + _ABSOLUTE))


def _letter(symbol: Symbol) -> str:
    if symbol.binding == SymbolBinding.WEAK:
        return "w"
    letter = "t" if symbol.kind == SymbolKind.FUNC else "d"
    return letter.upper() if symbol.binding == SymbolBinding.GLOBAL else letter
