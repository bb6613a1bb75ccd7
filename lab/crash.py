# SPDX-License-Identifier: LGPL-2.1-or-later
"""A genuine kdump: a guest crashes, a second kernel copies its memory out of /proc/vmcore.

    python3 -m lab.crash -o DIR VERSION

The copy is raw; makedumpfile makes every other format of it on the host (lab/dumpfile.py), byte for
byte what it would have made inside.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import sys
import tempfile
from pathlib import Path

from lab import guests, initramfs, kernels, packages
from lab.qemu import GuestError

# Below this the capture kernel ends in "No working init found", and neither kexec nor QEMU tells.
RESERVED_MIB = 64
WORDS = f"page_owner=on crashkernel={RESERVED_MIB}M lab_busy=1"
PACKAGES = ["kexec-tools", "makedumpfile"]
# The smallest ELF core that has a memmap in it; a capture kernel that ran out of memory leaves less.
LEAST = 64 << 20
# Runs on the host's file system, with the host's kexec; /tmp/work is the folder of the guest.
SCRIPT = """
kexec -p /tmp/work/bzImage --initrd=/tmp/work/capture.gz \
    --command-line="console=ttyS0 quiet panic=-1 nr_cpus=1 irqpoll reset_devices" || exit
sync
echo c > /proc/sysrq-trigger
"""


def crash(version: str, out: Path, *, mib: int = 256, words: str = WORDS) -> Path:
    """Crash a guest of *mib* MiB; the raw vmcore that it left, *out*.

    Raises GuestError when there is none, KeyError for a kernel that the lab does not know.
    """
    packages.install([*kernels.LAB_PACKAGES, *PACKAGES])
    image = kernels.get(version).image
    with tempfile.TemporaryDirectory(prefix="pageowner-lab-") as name:
        work = Path(name)
        shutil.copyfile(image, work / "bzImage")
        (work / "capture.gz").write_bytes(_capture_initrd())
        with guests.scripted(work, version, SCRIPT, words=words, mib=mib) as guest:
            try:
                guest.wait_for_end(300)
            except GuestError as error:
                output = (work / "output").read_text(errors="replace") if (work / "output").exists() else ""
                raise GuestError(f"{error}: {' | '.join(output.splitlines()[-3:])}") from error
        left = work / "vmcore"
        if not left.exists() or left.stat().st_size < LEAST:
            console = (work / "console.log").read_text(errors="replace").splitlines()
            raise GuestError(f"the crashed guest left no vmcore: {' | '.join(console[-3:])}")
        shutil.move(left, out)
    return out


def _capture_initrd() -> bytes:
    files = {"bin/busybox": initramfs.BUSYBOX, "init": initramfs.HERE / "guest" / "vmcore"}
    return gzip.compress(initramfs.cpio(files), 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.crash", description="Crash a guest and keep its memory.")
    parser.add_argument("version", choices=list(kernels.KERNELS))
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        print(crash(options.version, options.out / "vmcore"))
    except GuestError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
