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

FRAGMENT = Path(__file__).with_name("kernel.config")
BUILD_PACKAGES = (
    "build-essential bc bison flex libelf-dev libssl-dev dwarves cpio kmod lz4 xz-utils".split()
)
LAB_PACKAGES = "qemu-system-x86 busybox-static e2fsprogs libc6-dev gcc cpio".split()


@dataclass(frozen=True)
class Kernel:
    """One kernel of the lab: `version` is the name of its folders, `package` Debian's source package."""

    version: str
    package: str


KERNELS = {k.version: k for k in (Kernel("6.12", "linux-source-6.12"), Kernel("6.1", "linux-source-6.1"))}


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


def fragment_hash() -> str:
    """First 12 hexadecimal digits of the SHA-256 of the config fragment."""
    return hashlib.sha256(FRAGMENT.read_bytes()).hexdigest()[:12]


def cache_root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pageowner"


def cache_folder(kernel: Kernel) -> Path:
    return cache_root() / "kernels" / f"{kernel.version}-{fragment_hash()}"


def get(version: str) -> Built:
    """The kernel, from the cache, from $PAGEOWNER_KERNELS, or built now (10 minutes on 2 cores).

    Raises KeyError for a version that the lab does not know, CalledProcessError when the build fails.
    """
    kernel = KERNELS[version]
    folder = cache_folder(kernel)
    if (folder / "bzImage").exists():
        return Built(kernel, folder, (folder / "origin").read_text().strip())
    given = os.environ.get("PAGEOWNER_KERNELS")
    if given and (Path(given) / version / "bzImage").exists():
        return Built(kernel, Path(given) / version, "prebuilt")
    return build(kernel, folder)


def build(kernel: Kernel, folder: Path) -> Built:
    """Build `kernel` from its source package and keep the results in `folder`."""
    install([kernel.package, *BUILD_PACKAGES])
    work = cache_root() / "build" / f"{kernel.version}-{fragment_hash()}"
    source = unpack(kernel, work)
    configure(source)
    run(["make", "-s", f"-j{os.cpu_count()}", "bzImage", "modules"], source)
    origin = f"{kernel.package} {package_version(kernel.package)}"
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


def configure(source: Path) -> None:
    run(["make", "-s", "tinyconfig"], source)
    run(["scripts/kconfig/merge_config.sh", "-m", ".config", str(FRAGMENT)], source)
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


def install(packages: list[str]) -> None:
    """Install what is missing, as root; otherwise say which line would do it."""
    missing = [p for p in packages if not package_version(p)]
    if not missing:
        return
    line = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        raise SystemExit(f"lab: packages are missing; run: sudo {' '.join(line)}")
    run(line, Path("/"))


def package_version(package: str) -> str:
    """The installed version of a Debian package, or the empty string."""
    query = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Version}", package]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    state, _, version = done.stdout.partition(" ")
    return version.strip() if state.startswith("ii") else ""


def run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
