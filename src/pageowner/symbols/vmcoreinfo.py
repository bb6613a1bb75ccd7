# SPDX-License-Identifier: LGPL-2.1-or-later
"""The VMCOREINFO note: what the kernel tells crash tools about itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from drgn import FaultError, Program

from pageowner.errors import SymbolsError

_ENTRY = re.compile(r"(NUMBER|SYMBOL|OFFSET|SIZE|LENGTH)\(([^)]*)\)=(-?[0-9a-fA-Fx]+)")


@dataclass(frozen=True)
class Vmcoreinfo:
    """The note, by kind of entry.

    A symbol that the kernel exports as an array (``mem_section``, ``vmemmap``, ``swapper_pg_dir``) has the
    pointer's *value* here, not the variable's address.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    symbols: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    #: lines of another form: OSRELEASE, BUILD-ID, PAGESIZE, KERNELOFFSET, …
    others: dict[str, str] = field(default_factory=dict)


def parse_vmcoreinfo(text: str) -> Vmcoreinfo:
    """Parse the text of the note; lines that are not understood are left out."""
    note = Vmcoreinfo()
    kinds = {
        "NUMBER": note.numbers,
        "SYMBOL": note.symbols,
        "OFFSET": note.offsets,
        "SIZE": note.sizes,
        "LENGTH": note.lengths,
    }
    for line in text.splitlines():
        if match := _ENTRY.fullmatch(line):
            kind, name, value = match.groups()
            number = _number(value, 16 if kind == "SYMBOL" else 10)
            if number is not None:
                kinds[kind][name] = number
        elif "=" in line:
            name, _, rest = line.partition("=")
            note.others[name] = rest
    return note


def _number(text: str, base: int) -> int | None:
    try:
        return int(text, 0 if text.startswith(("0x", "-0x")) else base)
    except ValueError:
        return None


def read_vmcoreinfo(prog: Program) -> Vmcoreinfo:
    """The note of *prog*.

    :raises SymbolsError: if it has none.
    """
    try:
        data = prog["VMCOREINFO"].string_()
    except (LookupError, FaultError) as error:
        raise SymbolsError(
            "no VMCOREINFO note in this source: dump with one (QEMU: -device vmcoreinfo), "
            "or give the kernel's debug file with -s"
        ) from error
    return parse_vmcoreinfo(data.decode("ascii", "backslashreplace"))
