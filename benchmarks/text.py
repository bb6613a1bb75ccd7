# SPDX-License-Identifier: LGPL-2.1-or-later
"""Grouping a big page_owner text by stack, beside the kernel's page_owner_sort on the same file in one run.

    python benchmarks/text.py PAGE_OWNER_TEXT [RECORDS [ROUNDS]]

The text is made of the records of the given one (a fixture's page_owner.txt.xz), over and over, until there
are RECORDS (1,000,000). Both tools group it by stack and rank by memory, in turn; printed are the medians of
their times and memory, and the ratios. page_owner_sort is built as lab/sorter.py says.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab.sorter import page_owner_sort
from pageowner.ownertext.source import open_text


def main() -> None:
    source = Path(sys.argv[1])
    records = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with tempfile.TemporaryDirectory() as folder:
        text, ours, theirs = (Path(folder, name) for name in ("text", "ours", "theirs"))
        grow(source, text, records)
        lines = {
            "page_owner_sort": [page_owner_sort(), "-m", "--cull=st", text, theirs],
            "pageowner sort": [
                sys.executable,
                "-m",
                "pageowner",
                "sort",
                "--force",
                "-m",
                "--cull=st",
                text,
                ours,
            ],
        }
        figures = {
            name: [measure(list(map(str, line))) for _ in range(rounds)] for name, line in lines.items()
        }
        same = "equal" if ours.read_bytes() == theirs.read_bytes() else "DIFFERENT"
        print(f"{records} records, {text.stat().st_size >> 20} MiB; the outputs are {same}")
    report(figures)


def grow(source: Path, text: Path, records: int) -> None:
    """Write the records of *source*, in turn, until there are *records*."""
    with open_text(source) as blocks:
        pieces = b"".join(blocks).split(b"\n\n")[:-1]
    whole = b"".join(piece + b"\n\n" for piece in pieces)
    with text.open("wb") as out:
        for _ in range(records // len(pieces)):
            out.write(whole)
        out.writelines(piece + b"\n\n" for piece in pieces[: records % len(pieces)])


def measure(line: list[str]) -> tuple[float, float, float]:
    """Seconds passed, seconds of CPU, MiB at most."""
    start = time.monotonic()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{line[0]} failed with status {process.returncode}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def report(figures: dict[str, list[tuple[float, float, float]]]) -> None:
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in figures.items()
    }
    for name, (passed, cpu, memory) in medians.items():
        print(f"{name:16} {passed:7.2f} s   {cpu:7.2f} s of CPU   {memory:7.0f} MiB")
    ratios = [theirs / ours for theirs, ours in zip(*medians.values(), strict=True)]
    print("{:16} {:7.2f} x   {:7.2f} x          {:7.2f} x".format("ratio", *ratios))


if __name__ == "__main__":
    main()
