# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's own cloud kernels, fetched and unpacked but never installed: what most machines run.

They have BTF and KALLSYMS_ALL, no page_owner, and nearly everything as modules. Kept in
`${XDG_CACHE_HOME:-~/.cache}/pageowner/stock/<name>/` (bzImage, config, modules, origin).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from lab import kernels, packages
from lab.kernels import Built, Kernel
from lab.qemu import GuestError

# name -> what the package's name begins with, and the suites of Debian that have it.
STOCK = {
    "6.12-cloud": ("linux-image-6.12.", ["bookworm-security", "trixie"]),
    "6.1-cloud": ("linux-image-6.1.", ["bookworm"]),
    "7.2-cloud": ("linux-image-7.2.", ["trixie-backports", "sid"]),
    "5.10-cloud": ("linux-image-5.10.", ["bullseye"]),
}


def folder_of(name: str) -> Path:
    return kernels.cache_root() / "stock" / name


def get(name: str) -> Built:
    """The kernel, from the cache, else downloaded and unpacked (30-60 MB).

    Raises KeyError for a name that is not in STOCK, GuestError when no suite has it.
    """
    prefix, suites = STOCK[name]
    folder = folder_of(name)
    if not (folder / "bzImage").exists():
        fetch(prefix, suites, folder)
    return Built(Kernel(name, prefix, suites[0]), folder, (folder / "origin").read_text().strip())


def fetch(prefix: str, suites: list[str], folder: Path) -> None:
    """Download the newest package that begins with `prefix` and unpack what a guest needs to `folder`."""
    package = newest(prefix)
    for suite in suites if not package else []:
        packages.add_suite(suite)
        kernels.run(["apt-get", "-qq", "update"], Path("/"))
        package = newest(prefix) or package
    if not package:
        raise GuestError(f"apt knows no {prefix}*-cloud-amd64, also not from {' or '.join(suites)}")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    release = package.removeprefix("linux-image-")
    version = unpack(package, part)
    for other in companions(package, release):
        unpack(other, part)
    keep(part, release)
    (part / "origin").write_text(f"{package} {version}\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def newest(prefix: str) -> str:
    """The newest package that apt knows by `prefix`, or the empty string."""
    names = _words(["apt-cache", "pkgnames", prefix])
    found = [name for name in names if re.fullmatch(re.escape(prefix) + r"[\w.+~-]*-cloud-amd64", name)]
    return max(found, key=lambda name: [int(n) for n in re.findall(r"\d+", name)], default="")


def companions(package: str, release: str) -> list[str]:
    """Since 7.1 the image, its config and its modules are packages of their own."""
    depends = _words(["apt-cache", "depends", "--no-recommends", "--no-suggests", package])
    parts = {word for word in depends if re.fullmatch(rf"linux-\w+-{re.escape(release)}", word)}
    return sorted(parts - {package})


def unpack(package: str, folder: Path) -> str:
    """Download `package` and unpack it below `folder`; its version."""
    kernels.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], folder)
    (deb,) = folder.glob(f"{package}_*.deb")
    kernels.run(["dpkg-deb", "-x", str(deb), "unpacked"], folder)
    (version,) = _words(["dpkg-deb", "-f", str(deb), "Version"])
    deb.unlink()
    return version


def keep(part: Path, release: str) -> None:
    """bzImage, config and modules out of the unpacked packages: in /boot, since 7.1 with the modules."""
    tree, below = part / "unpacked", f"modules/{release}"
    for name, patterns in {
        "bzImage": (f"boot/vmlinuz-{release}", f"{below}/vmlinuz"),
        "config": (f"boot/config-{release}", f"{below}/config"),
        "modules": (f"{below}/kernel",),
    }.items():
        found = [path for pattern in patterns for path in tree.rglob(pattern)]
        if not found:
            raise GuestError(f"the packages of {release} have no {patterns[-1]}")
        found[0].rename(part / name)
    shutil.rmtree(tree)


def _words(command: list[str]) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
