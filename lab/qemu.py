# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest under QEMU: boot, talk over its console, freeze, dump. Ended by its own process handle only."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# KVM is not used on purpose: software emulation gives the same guest everywhere. AVX2 is emulated wrongly
# (lab/guest_python.py).
ACCEL = ["-accel", "tcg,thread=multi", "-cpu", "max,-avx2"]
# Memory sections are 128 MiB: the nodes' border lies on one.
NODE_MIB = (256, 128)


class GuestError(Exception):
    """The guest did not do what it was asked: said in one line."""


def machine(nodes: tuple[int, ...] = NODE_MIB) -> list[str]:
    """NUMA nodes of so many MiB with one socket each, VMCOREINFO, a balloon."""
    smp = len(nodes)
    words = [*ACCEL, "-smp", f"{smp},sockets={smp}", "-m", f"{sum(nodes)}M"]
    for node, size in enumerate(nodes):
        words += ["-object", f"memory-backend-ram,id=m{node},size={size}M"]
        words += ["-numa", f"node,nodeid={node},memdev=m{node},cpus={node}"]
    return [*words, "-device", "vmcoreinfo", "-device", "virtio-balloon-pci"]


class Guest:
    """A running QEMU. Use as a context manager: leaving it ends the process.

    work: folder for console.log, the QMP socket and the files behind the guest's ports.
    nodes: MiB of each NUMA node.
    """

    def __init__(
        self,
        image: Path,
        initrd: Path,
        append: str,
        work: Path,
        options: list[str],
        nodes: tuple[int, ...] = NODE_MIB,
    ) -> None:
        self.console = work / "console.log"
        self.console.write_bytes(b"")
        self._qmp_path = work / "qmp"
        self.command = [
            "qemu-system-x86_64", *machine(nodes), "-kernel", str(image), "-initrd", str(initrd),
            "-append", append, "-display", "none", "-no-reboot", "-nodefaults",
            "-serial", f"file:{self.console}",
            "-qmp", f"unix:{self._qmp_path},server=on,wait=off", *options,
        ]  # fmt: skip
        self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        self._qmp: Any = None

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._qmp:
            self._qmp.close()

    def wait_for(self, word: str, seconds: float, hint: Callable[[], str] = str) -> None:
        """Wait until the console shows `word`; GuestError when the guest ends, panics or takes too long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = self.console.read_text(errors="replace")
            if word in text:
                return
            if self._process.poll() is not None or "Kernel panic" in text:
                raise GuestError(f"the guest ended before it said {word!r}: see {self.console}")
            time.sleep(0.2)
        raise GuestError(f"the guest did not say {word!r} in {seconds:.0f} s {hint()}: see {self.console}")

    def qmp(self, execute: str, **arguments: object) -> Any:
        """One QMP command; its result. GuestError when QEMU refuses."""
        if self._qmp is None:
            self._connect()
        self._send(execute, arguments)
        while True:
            answer = json.loads(self._qmp.readline())
            if "error" in answer:
                raise GuestError(f"QMP {execute}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def dump(self, path: Path) -> None:
        """Stop the guest and write its physical memory as an ELF core, without disk space for zeros."""
        path.unlink(missing_ok=True)
        self.qmp("stop")
        self.qmp("dump-guest-memory", paging=False, protocol=f"file:{path}")
        subprocess.run(["fallocate", "--dig-holes", str(path)], check=False, capture_output=True)

    def _send(self, execute: str, arguments: dict[str, object]) -> None:
        self._qmp.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
        self._qmp.flush()

    def _connect(self) -> None:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(600)  # a large dump on a busy host
        link.connect(str(self._qmp_path))
        self._qmp = link.makefile("rw")
        self._qmp.readline()
        self._send("qmp_capabilities", {})
        self._qmp.readline()
