# SPDX-License-Identifier: LGPL-2.1-or-later
"""Give a drgn program the types and symbols that the kernel carries itself."""

from __future__ import annotations

from drgn import FaultError, Program

from pageowner.errors import SymbolsError
from pageowner.symbols.btf import MAX_BYTES, Btf
from pageowner.symbols.btf_types import BtfTypes
from pageowner.symbols.globals import GlobalFinder
from pageowner.symbols.kallsyms import Kallsyms, load_kallsyms
from pageowner.symbols.kallsyms_elf import debug_file_kallsyms
from pageowner.symbols.kallsyms_text import parse_kallsyms
from pageowner.symbols.module_types import ModuleTypes
from pageowner.symbols.modules import load_others
from pageowner.symbols.table import SymbolTable
from pageowner.symbols.vmcoreinfo import Vmcoreinfo, read_vmcoreinfo

FINDER = "pageowner"


def attach(prog: Program, btf: bytes | None = None, kallsyms: str | None = None) -> SymbolTable:
    """Make *prog* know the kernel's types, globals and symbols; plain drgn objects and helpers then work.

    If *prog* has vmlinux's debug information already, types and globals stay with that; symbols come from
    kallsyms either way, since only these give the kernel's own ``%pS`` text, and from the debug information
    only for a kernel without kallsyms.

    :param btf: the kernel's BTF if it is at hand (``/sys/kernel/btf/vmlinux``); else it is read from the
        target's memory.
    :param kallsyms: text of a saved /proc/kallsyms or System.map, for a kernel whose own table cannot be
        read.
    :returns: the symbols; those of modules are read when first asked for.
    :raises SymbolsError: if VMCOREINFO, kallsyms or BTF are missing or damaged.
    """
    note = read_vmcoreinfo(prog)
    if kallsyms is None:
        table = _kallsyms(prog, note)
    else:
        table = parse_kallsyms(kallsyms, note.symbols.get("_stext", 0))
    symbols = SymbolTable(table, lambda: load_others(prog))
    prog.register_symbol_finder(FINDER, symbols.finder, enable_index=0)
    if not _has_debug_info(prog):
        types = BtfTypes(prog, Btf(read_btf(prog, symbols) if btf is None else btf))
        prog.register_type_finder(FINDER, types.finder, enable_index=0)
        modules = ModuleTypes(prog, types)
        prog.register_type_finder(f"{FINDER}-modules", modules.finder, enable_index=-1)
        # Last, so that drgn's own answers (PAGE_SHIFT, vmemmap, jiffies, …) come first.
        prog.register_object_finder(FINDER, GlobalFinder(prog, symbols, types), enable_index=-1)
    _main_module(prog, symbols)
    return symbols


def read_btf(prog: Program, symbols: SymbolTable) -> bytes:
    """The kernel's BTF, from its memory.

    :raises SymbolsError: if the kernel has none or it cannot be read.
    """
    try:
        start, stop = symbols.lookup_data("__start_BTF"), symbols.lookup_data("__stop_BTF")
    except KeyError as error:
        raise SymbolsError(
            "the kernel carries no BTF (CONFIG_DEBUG_INFO_BTF): give its debug file with -s VMLINUX"
        ) from error
    if not 0 < stop - start <= MAX_BYTES:
        raise SymbolsError("the kernel's BTF has no sane size: its symbol table is corrupt")
    try:
        data: bytes = prog.read(start, stop - start)
        return data
    except FaultError as error:
        raise SymbolsError(
            f"the kernel's BTF is not in this source ({error}): give its debug file with -s VMLINUX"
        ) from error


def _kallsyms(prog: Program, note: Vmcoreinfo) -> Kallsyms:
    """The kernel's own table, or that of its debug file if it has none."""
    try:
        return load_kallsyms(prog, note)
    except SymbolsError:
        table = debug_file_kallsyms(prog)
        if table is None:
            raise
        return table


def _has_debug_info(prog: Program) -> bool:
    try:
        return bool(prog.type("struct page"))
    except LookupError:
        return False


def _main_module(prog: Program, symbols: SymbolTable) -> None:
    """Tell drgn where the kernel's text is: stack traces need that for its built-in ORC unwinder."""
    try:
        prog.main_module()
    except LookupError:
        module = prog.main_module("kernel", create=True)
        if "_stext" in symbols and "_end" in symbols:
            module.address_ranges = [(symbols.lookup("_stext"), symbols.lookup("_end"))]
