# SPDX-License-Identifier: LGPL-2.1-or-later
"""Types that only a module has (``struct zspage`` where zsmalloc is one), from its split BTF."""

from __future__ import annotations

import drgn
from drgn import FaultError, Object, Program, Type

from pageowner.errors import DAMAGED_TYPE, SymbolsError
from pageowner.symbols.btf import Btf
from pageowner.symbols.btf_types import BtfTypes
from pageowner.symbols.walk import walk_list

MAX_MODULES = 10_000
MAX_BYTES = 64 << 20


class ModuleTypes:
    """drgn's type finder for modules, asked when the kernel's own BTF has no such type.

    Every module's ids and string offsets continue those of the kernel alone, so each gets its own overlay.
    """

    def __init__(self, prog: Program, base: BtfTypes) -> None:
        self._prog = prog
        self._base = base
        self._loaded: list[BtfTypes] | None = None
        #: one line for each module whose BTF could not be read
        self.notes: list[str] = []

    def finder(
        self, prog: Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
    ) -> Type | None:
        """The type of the first module that has it."""
        if self._loaded is None:
            self._loaded = []  # while we load, a type that is unknown stays so
            self._loaded = self._load()
        for types in self._loaded:
            if (found := types.finder(prog, kinds, name, filename)) is not None:
                return found
        return None

    def _load(self) -> list[BtfTypes]:
        try:
            head = self._prog["btf_modules"]
        except LookupError:
            return []  # no modules, or none with BTF
        loaded = []
        for module in walk_list(head, "struct btf_module", "list", MAX_MODULES, self.notes):
            try:
                loaded.append(BtfTypes(self._prog, self._split(module.btf), self._base))
            except (FaultError, SymbolsError, LookupError, AttributeError, *DAMAGED_TYPE) as error:
                self.notes.append(f"types of the module with BTF at {module.value_():#x}: {error}")
        return loaded

    def _split(self, btf: Object) -> Btf:
        size, first = int(btf.data_size), int(btf.start_id)
        if not 0 < size <= MAX_BYTES:
            raise SymbolsError(f"{size} bytes cannot be a module's BTF")
        if first != self._base.btf.nr_types:
            raise SymbolsError(f"it starts at type {first}, not where the kernel's ends")
        return Btf(self._prog.read(btf.data.value_(), size), self._base.btf)
