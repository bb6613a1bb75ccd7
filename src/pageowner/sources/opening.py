# SPDX-License-Identifier: LGPL-2.1-or-later
"""From what the user named to an opened kernel."""

from __future__ import annotations

import logging
from pathlib import Path

import drgn

from pageowner.errors import SymbolsError
from pageowner.kernel.target import Kernel
from pageowner.sources import elfcore
from pageowner.sources.demo import open_demo
from pageowner.sources.elfcore import CoreSource
from pageowner.sources.kdumpfile import open_flattened, open_kdump
from pageowner.sources.live import BTF, open_live, own_cost
from pageowner.sources.own_pages import OwnPages
from pageowner.sources.qemu import open_qemu
from pageowner.sources.selection import SourceSelection
from pageowner.sources.sniff import SourceKind, is_kcore, sniff
from pageowner.symbols.attach import attach
from pageowner.symbols.vmcoreinfo import read_vmcoreinfo

# What drgn warns of, our errors say.
logging.getLogger("drgn").addHandler(logging.NullHandler())
#: ``-s auto``: what is installed, else what debuginfod has.
AUTO = Path("auto")
_NOTHING_FOUND = (
    "no debug information of this kernel is installed, and debuginfod ($DEBUGINFOD_URLS) gave none; "
    "'pageowner doctor' names the package, or give a vmlinux with -s"
)


def open_source(selection: SourceSelection) -> Kernel:
    """The kernel that *selection* names, ready to be read.

    :raises SourceError: when it cannot be opened, :class:`SymbolsError` when types or symbols are missing.
    """
    live = selection.kind == "kernel" or (selection.path is not None and is_kcore(selection.path))
    if live:
        kernel = _kernel(open_live(), selection, _running_btf())
        kernel.last_words.append(own_cost)
        kernel.own_pages = OwnPages().pfns
        return kernel
    if selection.kind == "qemu" and selection.address is not None:
        return _kernel(open_qemu(selection.address, selection.pause), selection)
    if selection.kind in ("core", "path") and selection.path is not None:
        return _kernel(open_file(selection.path), selection)
    return _kernel(open_demo(), selection)


def open_core(path: Path | str, symbols: Path | None = None) -> Kernel:
    """The kernel in the core at *path*; with *symbols* (a vmlinux) its types come from DWARF."""
    return open_source(SourceSelection("core", Path(path), symbols=symbols))


def open_file(path: Path) -> CoreSource:
    """Open a core of any format. Raises ``SourceError``, one line, for all else."""
    found = sniff(path)
    if found.kind is SourceKind.KDUMP:
        return open_kdump(path, found.compression)
    if found.kind is SourceKind.FLATTENED:
        return open_flattened(path, found.compression)
    return elfcore.open_core(path)


def _kernel(source: CoreSource, selection: SourceSelection, btf: bytes | None = None) -> Kernel:
    if selection.symbols is not None:
        _load_debug_info(source.prog, selection.symbols)
    kallsyms = _text(selection.kallsyms) if selection.kallsyms else None
    kernel = Kernel(source.prog, attach(source.prog, btf, kallsyms), read_vmcoreinfo(source.prog))
    kernel.notes += source.note
    kernel.partial = source.truncated
    kernel.excluded = source.excluded.of if source.excluded else None
    kernel.live = source.live
    return kernel


def _running_btf() -> bytes | None:
    """The BTF that the running kernel offers as a file; None: it must be read from its memory."""
    try:
        return BTF.read_bytes()
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "surrogateescape")
    except OSError as error:
        raise SymbolsError(f"cannot read {path}: {error.strerror}") from error


def _load_debug_info(prog: drgn.Program, vmlinux: Path) -> None:
    auto = vmlinux == AUTO
    if auto:
        # For kernels, drgn asks debuginfod only if it is told to: it may be slow, or not there.
        finders = prog.registered_debug_info_finders()
        prog.set_enabled_debug_info_finders([name for name in ("standard", "debuginfod") if name in finders])
    try:
        prog.load_debug_info([] if auto else [vmlinux], main=auto)
    except (OSError, ValueError, LookupError, drgn.MissingDebugInfoError) as error:
        if auto:
            raise SymbolsError(_NOTHING_FOUND) from error
        first = str(error).splitlines()[0]
        raise SymbolsError(f"{vmlinux} gives no debug information for this kernel ({first})") from error
    try:
        prog.type("struct page")
    except LookupError as error:  # drgn passes over a file that is another kernel's
        line = "is another kernel's (its build ID differs), or has no debug information"
        raise SymbolsError(_NOTHING_FOUND if auto else f"{vmlinux} {line}") from error
