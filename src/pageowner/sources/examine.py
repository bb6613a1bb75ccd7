# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a machine or a file offers and lacks, in plain words: the findings of ``pageowner doctor``."""

from __future__ import annotations

import gzip
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pageowner.errors import PageownerError
from pageowner.kernel.page_owner import NoRecords, read_page_owner
from pageowner.kernel.target import Kernel
from pageowner.sources import live
from pageowner.sources.machine import CAP_SYS_RAWIO, has_capability, lockdown, sudo_command
from pageowner.sources.opening import open_source
from pageowner.sources.selection import SourceSelection
from pageowner.sources.sudo import can_ask

State = Literal["ok", "lacks", "fails"]
_NOT_RECORDED = (
    "nobody recorded who allocated which page; what structures and page tables name is told nevertheless"
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``lacks``: it works without, at a ``cost``; ``fails``: nothing works without.

    ``fix`` is the command or the step that mends it, as it is to be typed.
    """

    state: State
    what: str
    cost: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Host:
    """Where to look; tests have a root of their own. ``command`` is the command line to be run as root."""

    root: Path = Path("/")
    euid: int = 0
    command: tuple[str, ...] = ("pageowner", "summary")

    def read(self, name: str) -> str | None:
        """The text of a file, or None."""
        try:
            return (self.root / name).read_text(errors="replace")
        except OSError:
            return None


def this_host() -> Host:
    """The machine that we run on."""
    return Host(Path("/"), os.geteuid(), (sys.argv[0], "summary"))


def examine(selection: SourceSelection) -> list[Finding]:
    """Everything worth saying of the source that *selection* names."""
    if selection.kind != "kernel":
        return list(examine_source(selection))
    found = list(examine_host(this_host()))
    if any(finding.state == "fails" for finding in found):
        return found
    # What the kernel itself says of page_owner is better than what its command line lets one guess.
    guessed = [finding for finding in found if "page_owner" not in finding.what]
    opened = list(examine_source(selection))
    return [*(guessed if opened[0].state == "ok" else found), *opened]


def examine_host(host: Host) -> Iterator[Finding]:
    """The running kernel, before it is opened."""
    machine = platform.machine()
    if machine != "x86_64":
        yield Finding("fails", f"this machine is {machine}; the running kernel can be read on x86-64 only")
    yield from _kcore(host)
    yield from _who(host)
    yield from _memory(host)
    yield from _types(host)
    yield from _recording(host)


def _who(host: Host) -> Iterator[Finding]:
    if host.euid == 0:
        yield Finding("ok", "running as root")
        return
    fix = sudo_command(list(host.command))
    if can_ask():
        cost = "sudo will ask for your password to open /proc/kcore; nothing else runs as root"
        yield Finding("lacks", "not running as root", cost, fix)
        return
    cost = (
        "/proc/kcore cannot be opened; sudo looks for programs in its own secure_path, in which no virtual "
        "environment is, so give it the whole path"
    )
    yield Finding("fails", "not running as root", cost, fix)


def _kcore(host: Host) -> Iterator[Finding]:
    path = host.root / "proc/kcore"
    mode = lockdown(host.root / "sys/kernel/security/lockdown")
    if mode == "confidentiality":
        yield Finding(
            "fails", "the kernel is locked down (confidentiality)",
            "nobody may read /proc/kcore, root included",
            "boot without lockdown=confidentiality (Secure Boot may set it), or read a crash dump: "
            "pageowner summary -c VMCORE",
        )  # fmt: skip
    elif mode:
        yield Finding("ok", f"lockdown: {mode}, which lets /proc/kcore be read")
    if not path.exists():
        yield Finding(
            "fails", "there is no /proc/kcore", "the running kernel cannot be read",
            "in a container: run on the host; else the kernel needs CONFIG_PROC_KCORE=y",
        )  # fmt: skip
    elif not path.is_file() or not path.stat().st_size:
        yield Finding(
            "fails", "/proc/kcore is hidden by this container", "the running kernel cannot be read",
            "run on the host, or start the container with --privileged --pid=host",
        )  # fmt: skip
    elif host.euid == 0 and not has_capability(CAP_SYS_RAWIO, host.root / "proc/self/status"):
        yield Finding(
            "fails", "this root lacks CAP_SYS_RAWIO", "/proc/kcore cannot be opened",
            "run on the host, or start the container with --privileged (or --cap-add SYS_RAWIO)",
        )  # fmt: skip
    else:
        yield Finding("ok", "/proc/kcore is there")


def _memory(host: Host) -> Iterator[Finding]:
    text = host.read("proc/meminfo") or ""
    lines = [line.split() for line in text.splitlines() if line.startswith("MemAvailable:")]
    if not lines:
        return
    mib = int(lines[0][1]) >> 10
    if mib << 20 < live.NEEDED:
        yield Finding(
            "fails", f"only {mib} MiB of memory are available",
            "reading this host could push it into an out-of-memory kill",
            "free some memory, or dump the machine and read the dump elsewhere",
        )  # fmt: skip
    else:
        yield Finding("ok", f"{mib} MiB of memory are available")


def _types(host: Host) -> Iterator[Finding]:
    if (host.root / "sys/kernel/btf/vmlinux").exists():
        yield Finding("ok", "the kernel carries its types (BTF): no debug information is needed")
    else:
        yield Finding(
            "fails", "the kernel carries no BTF (CONFIG_DEBUG_INFO_BTF)",
            "its types must come from debug information",
            debug_package(host.read("etc/os-release") or "", platform.release()),
        )  # fmt: skip
    if (host.root / "proc/kallsyms").exists():
        yield Finding("ok", "the kernel carries its symbols (kallsyms)")
    else:
        yield Finding(
            "lacks", "the kernel carries no symbols (CONFIG_KALLSYMS)", "they must come from a file",
            f"pageowner summary --kallsyms /boot/System.map-{platform.release()}",
        )  # fmt: skip


def debug_package(os_release: str, release: str) -> str:
    """The command that installs the kernel's debug information, and the option that uses it."""
    kernel = shlex.quote(release)
    words = os_release.replace('"', "").split()
    like = {word for line in words if line.startswith(("ID=", "ID_LIKE=")) for word in line.split("=")[1:]}
    vmlinux = f"/usr/lib/debug/boot/vmlinux-{kernel}"
    if "ubuntu" in like:
        install = f"apt install linux-image-{kernel}-dbgsym  (after enabling ddebs)"
    elif "debian" in like:
        install = f"apt install linux-image-{kernel}-dbg"
    elif like & {"fedora", "rhel", "centos"}:
        install = f"dnf debuginfo-install kernel-{kernel}"
        vmlinux = f"/usr/lib/debug/lib/modules/{kernel}/vmlinux"
    elif like & {"suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles"}:
        install = "zypper install kernel-default-debuginfo"
        vmlinux += ".debug"
    else:
        install = "install your distribution's debug package of the kernel (about 1 GB)"
    return f"{install}; then add -s {vmlinux}"


def _recording(host: Host) -> Iterator[Finding]:
    config = _config(host)
    if "page_owner=on" in (host.read("proc/cmdline") or "").split():
        yield Finding("ok", "page_owner=on is on the kernel's command line")
    elif config is not None and "CONFIG_PAGE_OWNER=y" not in config.splitlines():
        yield Finding(
            "lacks", "the kernel has no page_owner (CONFIG_PAGE_OWNER is not set)", _NOT_RECORDED,
            "build or install a kernel with CONFIG_PAGE_OWNER=y, and boot it with page_owner=on",
        )  # fmt: skip
    else:
        yield Finding("lacks", "page_owner is off", _NOT_RECORDED, _boot_option(host))


def _boot_option(host: Host) -> str:
    if (host.root / "usr/sbin/grubby").exists():
        return "grubby --update-kernel=ALL --args=page_owner=on; then reboot"
    return "add page_owner=on to GRUB_CMDLINE_LINUX in /etc/default/grub, run update-grub, reboot"


def _config(host: Host) -> str | None:
    try:
        return gzip.decompress((host.root / "proc/config.gz").read_bytes()).decode("ascii", "replace")
    except (OSError, EOFError):
        return host.read(f"boot/config-{platform.release()}")


def examine_source(selection: SourceSelection) -> Iterator[Finding]:
    """Open the source and say what it offers; an error that keeps it closed is a finding, too."""
    try:
        kernel = open_source(selection)
    except PageownerError as error:
        yield Finding("fails", str(error))
        return
    release = kernel.vmcoreinfo.others.get("OSRELEASE", "of an unknown release")
    yield Finding("ok", f"a kernel {release} that can be read: types and symbols are there")
    for note in kernel.notes:
        state: State = "lacks" if kernel.partial else "ok"
        yield Finding(state, note)
    yield from _of_kernel(kernel)


def _of_kernel(kernel: Kernel) -> Iterator[Finding]:
    records = kernel.memo(read_page_owner)
    if isinstance(records, NoRecords):
        yield Finding(
            "lacks", records.reason.partition(": ")[0], _NOT_RECORDED, records.reason.partition(": ")[2]
        )  # fmt: skip
    else:
        yield Finding("ok", "page_owner recorded who allocated which page")
