# SPDX-License-Identifier: LGPL-2.1-or-later
"""A symbol table from text: a saved /proc/kallsyms, or the System.map of the kernel's build."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from pageowner.errors import SymbolsError
from pageowner.symbols.kallsyms import Kallsyms, in_address_order

U64s = npt.NDArray[np.uint64]
_LINE = re.compile(r"^([0-9a-fA-F]{1,16}) ([A-Za-z?]) (\S+)$", re.MULTILINE)


def parse_kallsyms(text: str, stext: int) -> Kallsyms:
    """The image's symbols in *text*, in its order; lines of modules and others are passed over.

    :param stext: where VMCOREINFO says that ``_stext`` is; the addresses of a System.map, which knows no
        KASLR, are moved to it. 0: they are taken as they are.
    :raises SymbolsError: if there are none, or all addresses are zero.
    """
    rows = _LINE.findall(text)
    if not rows:
        raise SymbolsError("no symbol in the given kallsyms file: its lines are to be `address type name`")
    names = [name for _, _, name in rows]
    addresses = np.array([int(address, 16) for address, _, _ in rows], np.uint64)
    if not addresses.any():
        raise SymbolsError(
            "all addresses in the given kallsyms file are zero: save it as root (see kernel.kptr_restrict)"
        )
    if stext:
        addresses = _moved(names, addresses, stext)
    return in_address_order(Kallsyms(addresses, names, "".join(letter for _, letter, _ in rows).encode()))


def _moved(names: list[str], addresses: U64s, stext: int) -> U64s:
    """The addresses as KASLR has moved the image; per-CPU offsets and constants below it stay."""
    if "_stext" not in names:
        raise SymbolsError("the given kallsyms file has no _stext: it is no kernel's, or cut off")
    built = int(addresses[names.index("_stext")])
    shift = np.uint64((stext - built) % (1 << 64))
    return np.where(addresses >= np.uint64(built), addresses + shift, addresses)
