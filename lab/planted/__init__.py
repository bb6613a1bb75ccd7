# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that does what it is told, command by command: to leak, to churn, to take memory offline."""

from __future__ import annotations

import gzip
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

from lab import initramfs, kernels
from lab.capture import disks
from lab.qemu import ACCEL, Guest, GuestError

HERE = Path(__file__).parent
APPEND = "console=ttyS0 quiet loglevel=4 panic=-1 page_owner=on"
_STATUS = re.compile(r"LAB status (\d+)\n$")


class Obedient(Guest):
    """Runs shell commands (busybox, and plant.c) that :meth:`sh` gives it. Use as a context manager.

    ``socket``: a QMP socket for others. An ext4 file system is on /disk.
    """

    def __init__(self, work: Path, version: str, words: str = "", mib: int = 256) -> None:
        self.console = work / "console.log"
        self.console.write_bytes(b"")
        self._qmp_path, self.socket, self._shell = work / "qmp", work / "qmp2", work / "shell"
        self.command = [
            "qemu-system-x86_64", *ACCEL, "-smp", "2", "-m", f"{mib}M", "-device", "vmcoreinfo",
            "-kernel", str(kernels.get(version).image), "-initrd", str(_initrd(work)),
            "-append", f"{APPEND} {words}", "-display", "none", "-no-reboot", "-nodefaults",
            "-serial", f"file:{self.console}", "-serial", f"unix:{self._shell},server=on,wait=off",
            *disks(work),
        ]  # fmt: skip
        for path in (self._qmp_path, self.socket):
            self.command += ["-qmp", f"unix:{path},server=on,wait=off"]
        self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        self._qmp: Any = None
        self._link: socket.socket | None = None

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._link:
            self._link.close()

    def sh(self, command: str, seconds: float = 600) -> tuple[int, str]:
        """The status and the output of *command*, one line of shell. GuestError when it takes too long."""
        if self._link is None:
            self.wait_for("LAB idle", 600)
            self._link = socket.socket(socket.AF_UNIX)
            self._link.connect(str(self._shell))
        self._link.settimeout(seconds)
        self._link.sendall(command.encode() + b"\n")
        text = ""
        while not (found := _STATUS.search(text)):
            try:
                data = self._link.recv(1 << 16)
            except TimeoutError:
                data = b""
            if not data:
                raise GuestError(f"the guest did not answer {command!r}: {text[-200:]!r}, see {self.console}")
            text += data.decode(errors="replace")
        return int(found[1]), text[: found.start()]

    def do(self, command: str) -> str:
        """The output of a *command* that must succeed."""
        status, text = self.sh(command)
        if status:
            raise GuestError(f"{command!r} ended with {status}: {text!r}")
        return text


def _initrd(work: Path) -> Path:
    plant, out = work / "plant", work / "initrd.gz"
    subprocess.run(["gcc", *initramfs.CFLAGS, "-s", "-o", str(plant), str(HERE / "plant.c")], check=True)
    files = {"bin/busybox": initramfs.BUSYBOX, "bin/plant": plant, "init": HERE / "init"}
    out.write_bytes(gzip.compress(initramfs.cpio(files), 1))
    return out
