# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own page_owner_sort, built from its source: what `pageowner sort` is held to."""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from lab import packages
from lab.kernels import KERNELS, cache_root

_FILE = "tools/mm/page_owner_sort.c"
KERNEL = KERNELS["6.12"]  # docs/text.md says so, too


def page_owner_sort() -> Path:
    """The tool, from the cache or built now, which takes half a minute.

    Its source is $PAGEOWNER_SORT_SOURCE, or comes out of the source package of 6.12, which is installed if
    need be. Raises SystemExit when that takes root, CalledProcessError when apt or gcc fails.
    """
    tool = cache_root() / f"page_owner_sort-{KERNEL.version}"
    if not tool.exists():
        packages.install(["gcc", "libc6-dev"])
        tool.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=tool.parent) as folder:  # several may build it at once
            source, built = Path(folder) / "page_owner_sort.c", Path(folder) / tool.name
            source.write_bytes(_source())
            subprocess.run(["gcc", "-O2", "-w", "-o", str(built), str(source)], check=True)
            built.rename(tool)
    return tool


def _source() -> bytes:
    given = os.environ.get("PAGEOWNER_SORT_SOURCE")
    if given:
        return Path(given).read_bytes()
    packages.install([KERNEL.package], KERNEL.suite)
    with tarfile.open(f"/usr/src/{KERNEL.package}.tar.xz") as tar:
        member = tar.extractfile(f"{KERNEL.package}/{_FILE}")
        assert member is not None
        return member.read()
