# SPDX-License-Identifier: LGPL-2.1-or-later
"""Loaded modules and the memory that each takes (kernel/module/main.c)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from pageowner.escape import escape
from pageowner.kernel.lists import list_entries
from pageowner.kernel.target import Kernel

_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class ModulePart:
    """A stretch of a module's memory: ``module`` is the address of its ``struct module``."""

    module: int
    name: str
    part: str
    start: int
    size: int


def read_modules(kernel: Kernel) -> list[ModulePart]:
    """All parts of all modules on the list, those that were freed after loading left out."""
    link = kernel.offset("struct module", "list")
    head = int(kernel.object("modules").address_of_())
    parts: list[ModulePart] = []
    for node in list_entries(kernel, head):
        try:
            parts += _parts(kernel, node - link)
        except drgn.FaultError:
            continue
    return [part for part in parts if part.start and 0 < part.size < _MOST_BYTES]


def _parts(kernel: Kernel, address: int) -> Iterator[ModulePart]:
    module = drgn.Object(kernel.prog, "struct module *", address)
    name = escape(module.name.string_())
    for part, start, size in _memory(kernel, module):
        yield ModulePart(address, name, part, start, size)


def _memory(kernel: Kernel, module: drgn.Object) -> Iterator[tuple[str, int, int]]:
    try:
        memory = module.mem  # ac3b43283923 ("module: replace module_layout with module_memory", 6.4)
    except AttributeError:
        for name, layout in (("core", module.core_layout), ("init", module.init_layout)):
            yield name, int(layout.base), int(layout.size)
        return
    names = _memory_names(kernel)
    for index in range(len(memory)):
        yield names.get(index, str(index)), int(memory[index].base), int(memory[index].size)


def _memory_names(kernel: Kernel) -> dict[int, str]:
    try:
        members = kernel.type("enum mod_mem_type").enumerators or ()
    except LookupError:
        return {}
    # MOD_MEM_NUM_TYPES and MOD_INVALID share the table with what they bound.
    return {e.value: e.name.removeprefix("MOD_").lower() for e in reversed(members)}
