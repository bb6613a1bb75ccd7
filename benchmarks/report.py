# SPDX-License-Identifier: LGPL-2.1-or-later
"""`report` with owner lines beside crash and beside a per-page drgn script, on the same 6.1 core.

    python -m benchmarks.report [RECORDS]

crash's `owner -l` needs the extension crash-pageowner, built by you: PAGEOWNER_CRASH_EXTENSION names the .so.
Without it, crash's own walk of all pages (`kmem -p`) is measured, which prints much less. All write to files;
what that takes depends on the disk's other work, so the median of three of our rounds counts. The drgn script
prints RECORDS (1000) records, from the middle of memory; its time per record does not depend on how many.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cores import core
from benchmarks.measure import PAGEOWNER, Cost, cost, start
from lab import kernels

HERE = Path(__file__).parent
MEASURED = 20e-6
"""Seconds of CPU that `owner -l` took per record of this core, where we had the extension."""


def main() -> None:
    sample = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    path, vmlinux = core("big-6.1"), kernels.get("6.1").vmlinux
    began = start()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report"
        ours = cost([*PAGEOWNER, "report", path, "-f", "-o", out], rounds=3).beyond(began)
        with out.open("rb") as file:
            count = sum(line.startswith(b"PFN ") for line in file)
        size, pages = out.stat().st_size >> 20, path.stat().st_size >> 12
    print(f"report: {count} records, {size} MiB of text;{ours}, {ours.cpu / count * 1e6:.2f} us each")
    print(f"        peak memory = 300 MiB + {(ours.mib - 300) * 2**20 / pages:.1f} B/page")
    each = ours.cpu / count
    if vmlinux is None:
        print("crash and drgn need vmlinux: unset PAGEOWNER_KERNELS, so that the kernel is built here")
        return
    _crash(path, vmlinux, count, each)
    _drgn(path, vmlinux, sample, each)


def _crash(path: Path, vmlinux: Path, count: int, each: float) -> None:
    if not shutil.which("crash"):
        print("crash: not installed (Debian: crash)")
        return
    line = ["crash", "-s", vmlinux, path]
    empty = cost(line, "quit\n")
    extension = os.environ.get("PAGEOWNER_CRASH_EXTENSION")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "crash"
        if extension:
            words = f"extend {extension}\nowner -l > {out}\nquit\n"
            _ratio("crash owner -l", cost(line, words), empty, count, each)
        else:
            print("crash owner -l: no PAGEOWNER_CRASH_EXTENSION; what it took once is in README.md")
            print(f"crash owner -l / report = {MEASURED / each:.1f}, by that figure")
            pages = path.stat().st_size >> 12
            _ratio("crash kmem -p", cost(line, f"kmem -p > {out}\nquit\n"), empty, pages, each)


def _ratio(name: str, whole: Cost, empty: Cost, count: int, each: float) -> None:
    used = whole.beyond(empty)
    per = used.cpu / count
    print(f"{name}:{used}, {per * 1e6:.1f} us each; / report = {per / each:.1f}")


def _drgn(path: Path, vmlinux: Path, sample: int, each: float) -> None:
    first = hex(path.stat().st_size >> 13)
    line = [sys.executable, HERE / "drgn_script.py", path, vmlinux, first, sample]
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True, check=True)
    per = float(done.stderr.splitlines()[-1]) / sample
    print(f"drgn script: {sample} records, {per * 1e6:.0f} us of CPU each; / report = {per / each:.0f}")


if __name__ == "__main__":
    main()
