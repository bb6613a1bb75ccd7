# SPDX-License-Identifier: LGPL-2.1-or-later
"""The running kernel, read through /proc/kcore by root, or by a user to whom sudo passes the descriptor."""

from __future__ import annotations

import os
import resource
import stat
from contextlib import suppress
from pathlib import Path

import drgn

from pageowner.errors import SourceError
from pageowner.sources import sudo
from pageowner.sources.elfcore import CoreSource
from pageowner.sources.machine import CAP_SYS_RAWIO, has_capability, lockdown, sudo_command

KCORE = "/proc/kcore"
BTF = Path("/sys/kernel/btf/vmlinux")
KALLSYMS = Path("/proc/kallsyms")
# What a scan of a small machine takes; a host with less left is too sick to be looked at.
NEEDED = 192 << 20
_FIRST_TO_DIE = "1000"


def open_live() -> CoreSource:
    """The running kernel. From here on this process is nice, the first to be killed, and capped.

    :raises SourceError: one line that says why not, and the command that helps.
    """
    _be_modest()
    fd = open_kcore()
    prog = drgn.Program()
    try:
        prog.set_core_dump(fd)
    except Exception as error:
        # drgn reports what it cannot make sense of in several classes, bare Exception among them.
        raise SourceError(f"{KCORE} cannot be read: {str(error).splitlines()[0]}") from error
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise SourceError(
            f"{KCORE} carries no VMCOREINFO: the kernel needs CONFIG_VMCORE_INFO "
            "(before 6.9: CONFIG_CRASH_CORE)"
        )
    return CoreSource(prog, Path(KCORE), live=True)


def open_kcore() -> int:
    """A descriptor of /proc/kcore; ``SourceError``, one line, when that cannot be had."""
    try:
        fd = os.open(KCORE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SourceError(
            f"there is no {KCORE}: the kernel lacks CONFIG_PROC_KCORE, or this container hides it; "
            "run on the host, or read a core dump with -c"
        ) from None
    except PermissionError as error:
        fd = _open_refused(error)
    except OSError as error:
        raise SourceError(f"cannot open {KCORE}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode) or not os.fstat(fd).st_size:
        os.close(fd)
        raise SourceError(
            f"{KCORE} is hidden by this container; run on the host, or let the container be privileged"
        )
    return fd


def _open_refused(error: OSError) -> int:
    """What can be done where /proc/kcore may not be opened."""
    if os.geteuid() == 0:
        raise SourceError(why_root_is_refused()) from error
    if not sudo.can_ask():
        raise SourceError(f"reading the running kernel needs root: {sudo_command()}") from error
    try:
        return sudo.open_as_root(KCORE)
    except OSError as refused:
        line = f"root may not open {KCORE}, either ({refused.strerror}); see 'pageowner doctor'"
        raise SourceError(line) from refused


def why_root_is_refused() -> str:
    """The line for root who may not open /proc/kcore: lockdown, or a container without the capability."""
    if lockdown() == "confidentiality":
        return (
            f"the kernel is locked down (confidentiality), so nobody may read {KCORE}; boot without "
            "lockdown=confidentiality, or read a crash dump with -c"
        )
    if not has_capability(CAP_SYS_RAWIO):
        return (
            f"root of this container may not read {KCORE} (CAP_SYS_RAWIO is missing); run on the host, "
            "or give the container --privileged"
        )
    return f"{KCORE} may not be opened, even by root; a security module forbids it, see 'dmesg'"


def _be_modest() -> None:
    """Take what is left over, and rather fail than push a sick host into an out-of-memory kill of others."""
    available = mem_available()
    if available is not None and available < NEEDED:
        raise SourceError(
            f"only {available >> 20} MiB of memory are available: reading this host now could push it into "
            "an out-of-memory kill; dump it instead and read the dump elsewhere"
        )
    os.nice(10 - min(10, max(0, os.nice(0))))
    with suppress(OSError):  # a hidden /proc: then the kernel's own choice stands
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_DIE)
    if available is not None:
        _cap(available * 3 // 4)


def _cap(more: int) -> None:
    """Let this process grow by *more* bytes at most: then it ends, in one line, and no other does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_size() + more
    if soft == resource.RLIM_INFINITY or soft > limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _data_size() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 1 << 30


def mem_available() -> int | None:
    """Bytes that can be taken without harm, as the kernel reckons; None where it does not say."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = [line for line in text.splitlines() if line.startswith("MemAvailable:")]
    return int(found[0].split()[1]) << 10 if found else None


def own_cost() -> str:
    """What this process has taken so far, for the reader of a live result."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime
    return f"own cost: {seconds:.1f} s of CPU, {used.ru_maxrss >> 10} MiB of memory at most"
