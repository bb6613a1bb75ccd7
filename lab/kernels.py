# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's kernels: found in the cache, given by the user, or built from Debian's linux-source packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from lab import packages

FRAGMENT = Path(__file__).with_name("kernel.config")
BUILD_PACKAGES = (
    "build-essential bc bison flex libelf-dev libssl-dev dwarves cpio kmod lz4 xz-utils".split()
)
LAB_PACKAGES = "qemu-system-x86 busybox-static e2fsprogs libc6-dev gcc cpio".split()


@dataclass(frozen=True)
class Kernel:
    """One kernel of the lab.

    version: the name of its folders. package: Debian's source package. suite: the Debian suite that holds
    it, for machines whose own apt sources do not. config: lines that it needs beside kernel.config.
    """

    version: str
    package: str
    suite: str = ""
    config: tuple[str, ...] = ()

    @property
    def fragment(self) -> bytes:
        """What the kernel is configured with on top of tinyconfig."""
        return FRAGMENT.read_bytes() + "".join(f"{line}\n" for line in self.config).encode()


# docs/kernels.md has the same table.
KERNELS = {
    k.version: k
    for k in (
        Kernel("7.2", "linux-source-7.2", "trixie-backports"),
        Kernel("6.12", "linux-source-6.12", "trixie"),
        Kernel("6.1", "linux-source-6.1", "bookworm"),
        Kernel(
            "5.10",
            "linux-source-5.10",
            "bullseye",
            # Debug information was a yes or no (up to 5.17), zswap a client of frontswap (up to 6.6).
            ("CONFIG_DEBUG_INFO=y", "CONFIG_DEBUG_INFO_BTF=y", "CONFIG_FRONTSWAP=y"),
        ),
    )
}


@dataclass(frozen=True)
class Built:
    """A kernel that can be booted. Where it was not built here there is a bzImage only, and no modules."""

    kernel: Kernel
    folder: Path
    origin: str

    @property
    def image(self) -> Path:
        return self.folder / "bzImage"

    @property
    def vmlinux(self) -> Path | None:
        path = self.folder / "vmlinux"
        return path if path.exists() else None

    @property
    def modules(self) -> list[Path]:
        return sorted(self.folder.glob("modules/*.ko"))


def fragment_hash(kernel: Kernel) -> str:
    """First 12 hexadecimal digits of the SHA-256 of the kernel's config fragment."""
    return hashlib.sha256(kernel.fragment).hexdigest()[:12]


def cache_root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pageowner"


def cache_folder(kernel: Kernel) -> Path:
    return cache_root() / "kernels" / f"{kernel.version}-{fragment_hash(kernel)}"


def get(version: str) -> Built:
    """The kernel, from $PAGEOWNER_KERNELS, from the cache, or built now (10 minutes on 2 cores).

    Raises KeyError for a version that the lab does not know, CalledProcessError when the build fails.
    """
    kernel = KERNELS[version]
    given = os.environ.get("PAGEOWNER_KERNELS")
    if given and (Path(given) / version / "bzImage").exists():
        return Built(kernel, Path(given) / version, "prebuilt")
    folder = cache_folder(kernel)
    if (folder / "bzImage").exists():
        return Built(kernel, folder, (folder / "origin").read_text().strip())
    return build(kernel, folder)


def build(kernel: Kernel, folder: Path) -> Built:
    """Build `kernel` from its source package and keep the results in `folder`."""
    packages.install(BUILD_PACKAGES)
    packages.install([kernel.package], kernel.suite)
    work = cache_root() / "build" / folder.name
    source = unpack(kernel, work)
    configure(kernel, source)
    run(["make", "-s", f"-j{os.cpu_count()}", "bzImage", "modules"], source)
    origin = f"{kernel.package} {packages.version(kernel.package)}"
    keep(source, folder, origin)
    shutil.rmtree(work)
    return Built(kernel, folder, origin)


def unpack(kernel: Kernel, work: Path) -> Path:
    """Unpack /usr/src/<package>.tar.xz below `work`; gives the source folder."""
    source = work / kernel.package
    if not (source / "Makefile").exists():
        work.mkdir(parents=True, exist_ok=True)
        with tarfile.open(f"/usr/src/{kernel.package}.tar.xz") as tar:
            tar.extractall(work)  # a package of the distribution
    return source


def configure(kernel: Kernel, source: Path) -> None:
    (source / "lab.config").write_bytes(kernel.fragment)
    run(["make", "-s", "tinyconfig"], source)
    run(["scripts/kconfig/merge_config.sh", "-m", ".config", "lab.config"], source)
    run(["make", "-s", "olddefconfig"], source)


def keep(source: Path, folder: Path, origin: str) -> None:
    """Copy what the lab and the tests need out of a built tree into the cache."""
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "modules").mkdir(parents=True)
    shutil.copy(source / "arch/x86/boot/bzImage", part)
    for name in ("vmlinux", "System.map"):
        shutil.copy(source / name, part)
    shutil.copy(source / ".config", part / "config")
    for module in source.rglob("*.ko"):
        shutil.copy(module, part / "modules")
    (part / "origin").write_text(origin + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
