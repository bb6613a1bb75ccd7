# SPDX-License-Identifier: LGPL-2.1-or-later
"""From what the user named to an opened kernel."""

from __future__ import annotations

from pathlib import Path

import drgn

from pageowner.errors import SourceError, SymbolsError
from pageowner.kernel.target import Kernel
from pageowner.sources import elfcore
from pageowner.sources.demo import open_demo
from pageowner.sources.elfcore import CoreSource
from pageowner.sources.kdumpfile import open_flattened, open_kdump
from pageowner.sources.selection import SourceSelection
from pageowner.sources.sniff import SourceKind, sniff
from pageowner.symbols.attach import attach
from pageowner.symbols.vmcoreinfo import read_vmcoreinfo


def open_source(selection: SourceSelection) -> Kernel:
    """The kernel that *selection* names, ready to be read.

    :raises SourceError: when it cannot be opened, :class:`SymbolsError` when types or symbols are missing.
    """
    if selection.kind == "demo":
        return _kernel(open_demo(), selection.symbols)
    if selection.kind in ("core", "path") and selection.path is not None:
        return open_core(selection.path, selection.symbols)
    what = "the running kernel" if selection.kind == "kernel" else "a QEMU guest"
    raise SourceError(f"reading {what} is not possible yet: give a core dump with -c CORE, or --demo")


def open_core(path: Path | str, symbols: Path | None = None) -> Kernel:
    """The kernel in the core at *path*; with *symbols* (a vmlinux) its types come from DWARF."""
    return _kernel(open_file(Path(path)), symbols)


def open_file(path: Path) -> CoreSource:
    """Open a core of any format. Raises ``SourceError``, one line, for all else."""
    found = sniff(path)
    if found.kind is SourceKind.KDUMP:
        return open_kdump(path, found.compression)
    if found.kind is SourceKind.FLATTENED:
        return open_flattened(path, found.compression)
    return elfcore.open_core(path)


def _kernel(source: CoreSource, vmlinux: Path | None) -> Kernel:
    if vmlinux is not None:
        _load_debug_info(source.prog, vmlinux)
    kernel = Kernel(source.prog, attach(source.prog), read_vmcoreinfo(source.prog))
    kernel.notes += source.note
    kernel.partial = source.truncated
    kernel.excluded = source.excluded.of if source.excluded else None
    return kernel


def _load_debug_info(prog: drgn.Program, vmlinux: Path) -> None:
    try:
        prog.load_debug_info([vmlinux])
    except (OSError, ValueError, LookupError, drgn.MissingDebugInfoError) as error:
        first = str(error).splitlines()[0]
        raise SymbolsError(f"{vmlinux} gives no debug information for this kernel ({first})") from error
