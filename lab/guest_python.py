# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this machine's Python needs inside an emulated guest: a polars without AVX2.

QEMU 7.2 emulates AVX2 wrongly: of 4,140 sorts, groups and sums (tests/sources/arithmetic.py), 317
come out wrong with it, of polars as of numpy, and none without. So guests have none (lab/qemu.py): numpy
sees to itself, and polars is taken in its build for old processors.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from lab import kernels


def compatible_polars() -> Path:
    """The folder that has the native part of this interpreter's polars, built for any x86-64; from the
    cache, else installed there with pip (50 MB)."""
    number = version("polars")
    folder = kernels.cache_root() / f"polars-compat-{number}"
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        what = f"polars-runtime-compat=={number}"
        line = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", str(part)]
        subprocess.run([*line, what], check=True)
        part.rename(folder)
    return folder


def environment(src: Path) -> str:
    """The first lines of a guest's script that runs *src* with this interpreter."""
    return (
        f"export PYTHONPATH={src}:{compatible_polars()} POLARS_FORCE_PKG=compat "
        "PYTHONDONTWRITEBYTECODE=1 POLARS_MAX_THREADS=2\n"
    )
