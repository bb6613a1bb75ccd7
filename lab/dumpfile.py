# SPDX-License-Identifier: LGPL-2.1-or-later
"""makedumpfile as three Debian releases have it: two of them make wrong files of kernels from 6.10 on."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

from lab import packages
from lab.kernels import cache_root

# What each release's version is, as long as it does not move on. On 6.12, 1.7.2 drops slab pages and
# keeps hugetlb data, 1.7.6 excludes no free pages; 1.7.8 is right.
SUITES = {"1.7.2": "", "1.7.6": "trixie", "1.7.8": "sid"}
# It needs a newer C library than an older release has: all its libraries come along.
_PACKAGES = (
    "makedumpfile libc6 libdw1t64 libelf1t64 libzstd1 zlib1g liblzo2-2 liblzma5 libbz2-1.0".split()
)
_DOWNLOAD = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download"]
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


def command(version: str) -> list[str]:
    """The words that start makedumpfile *version*; fetched with apt-get unless the cache has it.

    Raises FileNotFoundError where it cannot be had: not installed, or no package source has the suite.
    """
    suite = SUITES[version]
    if not suite:
        program = shutil.which("makedumpfile")
        if not program:
            raise FileNotFoundError("makedumpfile is not installed; run: sudo apt-get install makedumpfile")
        return [program]
    root = cache_root() / "makedumpfile" / suite
    if not (root / "usr/bin/makedumpfile").exists():
        _fetch(suite, root)
    libraries = root / _LIBRARIES
    start = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
    return [*start, str(root / "usr/bin/makedumpfile")]


def _fetch(suite: str, root: Path) -> None:
    """Unpack the suite's packages below *root*; nothing of them is installed."""
    part = root.with_name(f"{root.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    words = [f"{package}/{suite}" for package in _PACKAGES]
    try:
        _run(_DOWNLOAD + words, part)
    except FileNotFoundError:
        packages.add_suite(suite)
        _run(["apt-get", "update", "-q"], part)
        _run(_DOWNLOAD + words, part)
    for file in part.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(file), str(part)], part)
        file.unlink()
    shutil.rmtree(root, ignore_errors=True)
    part.rename(root)


def _run(line: list[str], folder: Path) -> None:
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FileNotFoundError(f"{' '.join(line)}: {done.stderr.strip().splitlines()[-1:]}")


def dump(version: str, source: Path, out: Path, *options: str) -> str:
    """Filter the core *source* into *out* with makedumpfile *version*; what it said.

    ``-F`` among the *options* is handled: a flattened dump goes to standard output. Raises
    CalledProcessError when it fails.
    """
    line = [*command(version), *options, str(source)]
    if "-F" in options:
        with out.open("wb") as file:
            done = subprocess.run(line, check=True, stdout=file, stderr=subprocess.PIPE, text=True)
        return done.stderr
    done = subprocess.run([*line, str(out)], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def mend(path: Path) -> None:
    """Move the program headers of QEMU's core: makedumpfile does not look where the ELF header says."""
    with path.open("r+b") as file:
        head = bytearray(file.read(64))
        (at,), (count,) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<H", head, 56)
        file.seek(at)
        headers = file.read(56 * count)
        struct.pack_into("<QQ", head, 32, 64, 0)
        struct.pack_into("<HHH", head, 58, 0, 0, 0)
        file.seek(0)
        file.write(head + headers)
