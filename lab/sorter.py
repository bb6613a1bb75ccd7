# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own page_owner_sort, built from its source: what `pageowner sort` is held to."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

from lab.kernels import KERNELS, cache_root

_FILE = "tools/mm/page_owner_sort.c"


def page_owner_sort() -> Path:
    """The tool, from the cache or built now.

    Its source is $PAGEOWNER_SORT_SOURCE, or comes out of 6.12's source package in /usr/src.
    Raises FileNotFoundError when there is none of these, CalledProcessError when gcc fails.
    """
    tool = cache_root() / "page_owner_sort"
    if not tool.exists():
        tool.parent.mkdir(parents=True, exist_ok=True)
        source = tool.with_suffix(".c")
        source.write_bytes(_source())
        subprocess.run(["gcc", "-O2", "-w", "-o", str(tool), str(source)], check=True)
    return tool


def _source() -> bytes:
    given = os.environ.get("PAGEOWNER_SORT_SOURCE")
    if given:
        return Path(given).read_bytes()
    package = KERNELS["6.12"].package
    with tarfile.open(f"/usr/src/{package}.tar.xz") as tar:
        member = tar.extractfile(f"{package}/{_FILE}")
        assert member is not None
        return member.read()
