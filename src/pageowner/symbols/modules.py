# SPDX-License-Identifier: LGPL-2.1-or-later
"""Symbols outside the kernel image: loaded modules, BPF programs, freed init code of modules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Object, Program

from pageowner.errors import DAMAGED_TYPE, SymbolsError
from pageowner.symbols.regions import Others, Region
from pageowner.symbols.walk import walk_list

MAX_MODULES = 10_000
MAX_MODULE_SYMBOLS = 1 << 20
MAX_NAME_BYTES = 64 << 20
MAX_BPF_SYMBOLS = 200_000
MAX_NAME = 512  # KSYM_NAME_LEN

Loader = Callable[[Object, list[str]], list[Region]]

# Elf64_Sym
_ELF_SYM = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"), ("size", "<u8")]
)


def load_others(prog: Program) -> Others:
    """Read the symbols of modules and BPF programs; what cannot be read is left out and noted."""
    others = Others()
    for name, load in (("modules", _modules), ("bpf_kallsyms", _bpf), ("ftrace_mod_maps", _ftrace)):
        others.tiers.append(_known(prog, name, load, others.notes))
    return others


def _known(prog: Program, name: str, load: Loader, notes: list[str]) -> list[Region]:
    """What *load* reads from the list *name*; nothing if the kernel was built without it."""
    try:
        head = prog[name]
    except LookupError:
        return []
    try:
        return load(head, notes)
    except (FaultError, LookupError, AttributeError, SymbolsError, *DAMAGED_TYPE) as error:
        notes.append(f"symbols from {name}: {error}")
        return []


def _modules(head: Object, notes: list[str]) -> list[Region]:
    unformed = head.prog_.constant("MODULE_STATE_UNFORMED")
    regions = []
    for module in walk_list(head, "struct module", "list", MAX_MODULES, notes):
        try:
            if module.state != unformed:
                regions += _module_regions(module)
        except (FaultError, _Insane) as error:
            notes.append(f"symbols of the module at {module.value_():#x}: {error}")
    return regions


class _Insane(Exception):
    """A count or size that no real module has."""


def _module_regions(module: Object) -> list[Region]:
    name = _text(module.name.string_())
    values, names, letters = _module_symbols(module.kallsyms.read_())
    return [
        Region(start, start + size, values, names, letters, name)
        for start, size in _module_memory(module)
        if start and size > 0 and start + size < 1 << 64
    ]


def _module_memory(module: Object) -> list[tuple[int, int]]:
    """Start and size of each part of the module's memory."""
    try:
        return [(int(part.base), int(part.size)) for part in module.mem]  # 6.4, ac3b43283923
    except AttributeError:
        pass
    parts = []
    for layout in (module.core_layout, module.init_layout):
        # A function's size ends where the text does, so text and data are parts of their own.
        base, text, size = int(layout.base), int(layout.text_size), int(layout.size)
        parts += [(base, text), (base + text, size - text)]
    return parts


def _module_symbols(table: Object) -> tuple[npt.NDArray[np.uint64], list[str], bytes]:
    """Values, names and letters of a ``struct mod_kallsyms``, in its order."""
    prog = table.prog_
    count = int(table.num_symtab)
    if not table or not count:
        return np.empty(0, np.uint64), [], b""
    if count > MAX_MODULE_SYMBOLS:
        raise _Insane(f"{count} symbols")
    symbols = np.frombuffer(prog.read(table.symtab.value_(), count * _ELF_SYM.itemsize), _ELF_SYM)
    letters = np.frombuffer(prog.read(table.typetab.value_(), count), np.uint8)
    names = _names(prog, table.strtab.value_(), symbols["name"].tolist())
    # Entry 0 is ELF's empty one; unnamed, undefined and mapping symbols are passed over by the kernel, too.
    good = [i for i, name in enumerate(names) if i and name and not _is_mapping_symbol(name)]
    kept = np.array(good, np.int64)
    kept = kept[symbols["shndx"][kept] != 0]
    return (
        symbols["value"][kept],
        [names[i] for i in kept.tolist()],
        letters[kept].tobytes(),
    )


def _names(prog: Program, strtab: int, offsets: list[int]) -> list[str]:
    last = max(offsets)
    if last > MAX_NAME_BYTES:
        raise _Insane(f"a string table of {last} bytes")
    # Nothing says how long the table is: it is read up to its last name, and this to its NUL.
    strings = prog.read(strtab, last) + prog.read_c_string(strtab + last, max_size=MAX_NAME)
    return [_text(strings[at : at + MAX_NAME].partition(b"\0")[0]) for at in offsets]


def _is_mapping_symbol(name: str) -> bool:
    return name.startswith(("$", ".L", "L0"))


def _bpf(head: Object, notes: list[str]) -> list[Region]:
    """BPF programs, trampolines and dispatchers; ``%pS`` gives them no suffix."""
    regions = []
    for symbol in walk_list(head, "struct bpf_ksym", "lnode", MAX_BPF_SYMBOLS, notes):
        try:
            row = symbol[0].read_()
        except FaultError as error:
            notes.append(f"the symbol of a BPF program: {error}")
            continue
        regions.append(_single(_text(row.name.string_()), int(row.start), int(row.end), ""))
    return [region for region in regions if region.start < region.end]


def _ftrace(head: Object, notes: list[str]) -> list[Region]:
    """Functions in init code of modules, which ftrace keeps the names of when the code is freed."""
    regions = []
    for kept in walk_list(head, "struct ftrace_mod_map", "list", MAX_MODULES, notes):
        try:
            module = _text(kept.mod.name.string_())
            functions = walk_list(kept.funcs, "struct ftrace_mod_func", "list", MAX_MODULE_SYMBOLS, notes)
            for function in functions:
                name, start, size = _string(function.name), int(function.ip), int(function.size)
                regions.append(_single(name, start, start + size, module))
        except FaultError as error:
            notes.append(f"init functions of a module: {error}")
    return [region for region in regions if region.start < region.end < 1 << 64]


def _single(name: str, start: int, end: int, module: str) -> Region:
    return Region(start, end, np.array([start], np.uint64), [name], b"t", module)


def _string(pointer: Object) -> str:
    return _text(pointer.prog_.read_c_string(pointer.value_(), max_size=MAX_NAME))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
