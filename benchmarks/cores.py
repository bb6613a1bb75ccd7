# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cores that benchmarks run on: made here, in the lab's guests, and kept outside the checkout.

    python -m benchmarks.cores [NAME...]

Each is a guest of one of the lab's kernels, with page_owner on, filled by guest/fill.c. They are kept in the
lab's cache (some 8 GB each); PAGEOWNER_BENCH_CORES names another folder, which may hold cores of your own.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import initramfs, kernels
from lab.qemu import ACCEL, Guest

HERE = Path(__file__).parent
APPEND = "console=ttyS0 quiet loglevel=4 panic=-1 page_owner=on"


@dataclass(frozen=True)
class Filling:
    """A guest of *mib* MiB, and what fills it: MiB, numbers of processes and files, threads per process."""

    version: str
    mib: int
    anon_mib: int
    processes: int
    shared_mib: int
    files: int
    cached_mib: int
    tmpfs_mib: int
    threads: int = 0

    def words(self) -> str:
        names = ("anon_mib", "processes", "shared_mib", "files", "cached_mib", "tmpfs_mib", "threads")
        return " ".join(f"{name}={getattr(self, name)}" for name in names)


def filling(version: str, mib: int) -> Filling:
    """The same mixture in any size: half of memory is anonymous."""
    return Filling(
        version,
        mib,
        anon_mib=mib // 2,
        processes=200 * mib // 7500,
        shared_mib=mib // 30,
        files=8 * mib,
        cached_mib=mib // 10,
        tmpfs_mib=mib // 10,
    )


CORES = {
    "big-6.12": filling("6.12", 7500),
    "big-6.1": filling("6.1", 7500),
    "small-6.12": filling("6.12", 1024),
    "middle-6.12": filling("6.12", 3000),
    # What synthetic/ makes 1 TiB of: 109 times as many inodes, VMAs and so on are those of such a host.
    "seed-6.12": Filling("6.12", 7500, 3750, 96, 40, 37200, 750, 750, threads=9),
}


def folder() -> Path:
    """Where cores are kept."""
    given = os.environ.get("PAGEOWNER_BENCH_CORES")
    return Path(given) if given else kernels.cache_root() / "benchmarks"


def core(name: str) -> Path:
    """The core *name* of :data:`CORES`, made now if need be (3 minutes for a big one, on 2 cores)."""
    path = folder() / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        make(CORES[name], part)
        part.rename(path)
    return path


class FilledGuest(Guest):
    """A guest with an initrd and a disk of its own, *mib* MiB large."""

    def __init__(self, built: kernels.Built, work: Path, wanted: Filling) -> None:
        self.console = work / "console.log"
        self.console.write_bytes(b"")
        self._qmp_path = work / "qmp"
        self.command = [
            "qemu-system-x86_64", *ACCEL, "-smp", "2", "-m", f"{wanted.mib}M",
            "-kernel", str(built.image), "-initrd", str(_initrd(work)),
            "-append", f"{APPEND} {wanted.words()}",
            "-display", "none", "-no-reboot", "-nodefaults", "-serial", f"file:{self.console}",
            "-device", "vmcoreinfo", "-qmp", f"unix:{self._qmp_path},server=on,wait=off",
            "-drive", f"file={_disk(work, wanted)},format=raw,if=virtio,cache=unsafe",
        ]  # fmt: skip
        self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        self._qmp = None


def make(wanted: Filling, out: Path) -> None:
    """Boot, fill and dump a guest."""
    built = kernels.get(wanted.version)
    with (
        tempfile.TemporaryDirectory(prefix="pageowner-bench-") as work,
        FilledGuest(built, Path(work), wanted) as guest,
    ):
        guest.wait_for("FILLED", 900)
        guest.dump(out)


def _initrd(work: Path) -> Path:
    fill = work / "fill"
    subprocess.run(["gcc", *initramfs.CFLAGS, "-o", str(fill), str(HERE / "guest" / "fill.c")], check=True)
    files = {"bin/busybox": initramfs.BUSYBOX, "bin/fill": fill, "init": HERE / "guest" / "init"}
    out = work / "initrd.gz"
    out.write_bytes(gzip.compress(initramfs.cpio(files), 1))
    return out


def _disk(work: Path, wanted: Filling) -> Path:
    path = work / "disk"
    with path.open("wb") as file:
        file.truncate((wanted.cached_mib + 64) << 20)
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", str(path)], check=True)
    return path


def main() -> None:
    for name in sys.argv[1:] or CORES:
        path = core(name)
        print(f"{name}: {path}, {path.stat().st_size >> 20} MiB")


if __name__ == "__main__":
    main()
