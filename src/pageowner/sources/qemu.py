# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Linux kernel in a QEMU guest, read from the host through QMP."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from pathlib import Path

import drgn

from pageowner.errors import SourceError
from pageowner.sources import vmcoreinfo
from pageowner.sources.elfcore import CoreSource
from pageowner.sources.qmp import Qmp

# x86: RAM that does not fit below the PCI hole, which ends at 4 GiB, continues above it.
_HOLE_END = 4 << 30


def open_qemu(address: str, pause: bool = False) -> CoreSource:
    """Open the guest behind the QMP socket *address* (a path, or host:port).

    :param pause: stop the guest until this process ends: an exact picture.
    :raises SourceError: one line.
    """
    qmp = Qmp(address)
    prog = _program(qmp)
    if pause and not _is_stopped(qmp):
        qmp.command("stop")
        _resume_at_exit(qmp)
    live, note = not _is_stopped(qmp), []
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        prog.set_linux_kernel_custom(_find_vmcoreinfo(prog, qmp), live)
        note = [f"{address}: the guest has no vmcoreinfo device; VMCOREINFO is taken from its memory"]
    return CoreSource(prog, Path(address), note=note, live=live)


def _program(qmp: Qmp) -> drgn.Program:
    prog = drgn.Program()
    try:
        prog.set_qemu_qmp(os.dup(qmp.socket.fileno()))
    except Exception as error:
        # drgn reports what QEMU answers in several classes, bare Exception among them.
        raise SourceError(f"{qmp.address}: cannot read the guest ({str(error).splitlines()[0]})") from error
    if prog.platform is None or prog.platform.arch != drgn.Architecture.X86_64:
        raise SourceError(f"{qmp.address} is no x86-64 guest; this version reads x86-64 only")
    return prog


def _is_stopped(qmp: Qmp) -> bool:
    return not qmp.command("query-status").get("running", False)


def _resume_at_exit(qmp: Qmp) -> None:
    """Let the guest run again when this process ends, in whatever way that can be caught."""
    atexit.register(_resume, qmp)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _leave)


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)


def _resume(qmp: Qmp) -> None:
    try:
        qmp.command("cont")
    except SourceError:
        line = f"pageowner: {qmp.address}: the guest is still stopped; QMP 'cont' lets it run"
        print(line, file=sys.stderr)


def _find_vmcoreinfo(prog: drgn.Program, qmp: Qmp) -> bytes:
    """The VMCOREINFO in the guest's memory that belongs to the kernel there."""
    sizes = qmp.command("query-memory-size-summary")
    total = _HOLE_END + int(sizes["base-memory"]) + int(sizes.get("plugged-memory", 0))

    def pread(size: int, start: int) -> bytes:
        try:
            return bytes(prog.read(start, size, True))
        except (drgn.FaultError, ValueError, OverflowError):
            return _around_a_hole(prog, start, size)

    first = None
    for content in vmcoreinfo.scan_with(pread, total):
        first = first or content
        if _is_of_memory(prog, content):
            return content
    if first is None:
        raise SourceError(
            f"{qmp.address}: no VMCOREINFO in the guest's memory: is it a Linux kernel with "
            "CONFIG_VMCORE_INFO (CONFIG_CRASH_CORE before 6.9), and has it booted?"
        )
    return first


def _around_a_hole(prog: drgn.Program, start: int, size: int) -> bytes:
    """As much as there is before the first hole; what a chunk has behind one is not looked at."""
    low, high = 0, size
    while high - low > 1 << 16:
        middle = (low + high) // 2
        try:
            prog.read(start, middle, True)
            low = middle
        except (drgn.FaultError, ValueError, OverflowError):
            high = middle
    return bytes(prog.read(start, low, True)) if low else b""


def _is_of_memory(prog: drgn.Program, content: bytes) -> bool:
    """Whether the utsname where *content* says it is names the same release."""
    names = ("SYMBOL(init_uts_ns)", "OFFSET(uts_namespace.name)", "NUMBER(phys_base)", "OSRELEASE")
    symbol, offset, base, release = (vmcoreinfo.field(content, name) for name in names)
    try:
        physical = int(symbol or "", 16) - 0xFFFFFFFF80000000 + int(base or "") + int(offset or "")
        there: bytes = prog.read(physical + 2 * 65, 65, True)
    except (drgn.FaultError, ValueError, OverflowError):
        return False
    return there.split(b"\0")[0].decode("ascii", "replace") == release
