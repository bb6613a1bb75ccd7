# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small guests without the workload: idle ones, read from outside, and ones that run our Python inside."""

from __future__ import annotations

import gzip
import subprocess
import time
from pathlib import Path

from lab import initramfs, kernels
from lab.qemu import ACCEL, Guest, GuestError

READY = "LAB idle"
DONE = "LAB done"
# no_timer_check: on a busy host an emulated timer is slow, which a kernel may take for broken.
APPEND = "console=ttyS0 quiet loglevel=4 panic=-1 no_timer_check"


class SmallGuest(Guest):
    """One node, two QMP sockets: ``socket`` is free for others, since QEMU serves one client per socket."""

    def __init__(
        self,
        image: Path,
        work: Path,
        append: str,
        mib: int,
        device: bool,
        options: list[str],
        init: str = "idle",
        programs: dict[str, Path] | None = None,
    ) -> None:
        self.console = work / "console.log"
        self.console.write_bytes(b"")
        self._qmp_path, self.socket = work / "qmp", work / "qmp2"
        self.command = [
            "qemu-system-x86_64", *ACCEL, "-smp", "2", "-m", f"{mib}M",
            "-kernel", str(image), "-initrd", str(_initrd(work, init, programs or {})), "-append", append,
            "-display", "none", "-no-reboot", "-nodefaults", "-serial", f"file:{self.console}",
            *(["-device", "vmcoreinfo"] if device else []), *options,
        ]  # fmt: skip
        for path in (self._qmp_path, self.socket):
            self.command += ["-qmp", f"unix:{path},server=on,wait=off"]
        self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        self._qmp = None

    def wait_for_end(self, seconds: float) -> None:
        """Wait until the guest has switched itself off; GuestError when it does not."""
        end = time.monotonic() + seconds
        while self._process.poll() is None:
            if DONE in self.console.read_text(errors="replace"):
                raise GuestError("the guest's script ended, and the guest did not")
            if time.monotonic() > end:
                raise GuestError(f"the guest did not end in {seconds:.0f} s: see {self.console}")
            time.sleep(0.2)


def idle(work: Path, version: str, *, words: str = "page_owner=on", device: bool = True) -> SmallGuest:
    """A booted guest with a few processes and files, which does nothing more. Use as a context manager."""
    guest = SmallGuest(kernels.get(version).image, work, f"{APPEND} {words}", 256, device, [])
    return _ready(guest, READY, 600)


def scripted(work: Path, version: str, script: str, *, words: str, mib: int) -> SmallGuest:
    """A guest that runs a shell *script* as root on the host's file system, read-only; a context manager.

    ``/tmp`` is the guest's own, but for ``/tmp/work``, which is *work*.
    """
    (work / "script").write_text(script)
    options = [*_share("host", Path("/"), "on"), *_share("work", work, "off")]
    image = kernels.get(version).image
    return SmallGuest(image, work, f"{APPEND} lab_script=1 {words}", mib, True, options)


def running(
    work: Path,
    version: str,
    script: str,
    *,
    words: str = "page_owner=on",
    mib: int = 1024,
    seconds: float = 900,
) -> str:
    """The output of a shell *script* inside such a guest, which is gone when this returns."""
    with scripted(work, version, script, words=words, mib=mib) as guest:
        guest.wait_for(DONE, seconds)
    return (work / "output").read_text(errors="surrogateescape")


def changing(work: Path, version: str) -> SmallGuest:
    """A guest whose memory changes as fast as it can; pagemap.0, … and ready.0, … appear in the folder *work*
    (guest/watcher.c)."""
    programs = {name: _compiled(work, name) for name in ("busy", "watcher")}
    options = _share("work", work, "off")
    words = f"{APPEND} page_owner=on"
    return SmallGuest(kernels.get(version).image, work, words, 256, True, options, "watched", programs)


def _share(tag: str, path: Path, readonly: str) -> list[str]:
    share = f"local,id={tag},path={path},security_model=none,multidevs=remap,readonly={readonly}"
    return ["-fsdev", share, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def console(work: Path, image: Path, init: str, words: str) -> str:
    """What a guest of any kernel says whose init is lab/guest/*init*, a shell script that ends with DONE."""
    with SmallGuest(image, work, f"{APPEND} {words}", 256, False, [], init) as guest:
        guest.wait_for(DONE, 600)
        return guest.console.read_text(errors="replace")


def _compiled(work: Path, name: str) -> Path:
    out, source = work / name, initramfs.HERE / "guest" / f"{name}.c"
    subprocess.run(["gcc", *initramfs.CFLAGS, "-o", str(out), str(source)], check=True)
    return out


def _ready(guest: SmallGuest, word: str, seconds: float) -> SmallGuest:
    try:
        guest.wait_for(word, seconds)
    except BaseException:
        guest.__exit__()
        raise
    return guest


def _initrd(work: Path, init: str, programs: dict[str, Path]) -> Path:
    files = {"bin/busybox": initramfs.BUSYBOX, "init": initramfs.HERE / "guest" / init}
    files |= {f"bin/{name}": path for name, path in programs.items()}
    out = work / "initrd.gz"
    out.write_bytes(gzip.compress(initramfs.cpio(files), 1))
    return out
