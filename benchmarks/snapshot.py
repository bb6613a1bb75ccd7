# SPDX-License-Identifier: LGPL-2.1-or-later
"""`record`, then `summary` of the snapshot, beside `summary` of the core itself; and how both grow.

    python -m benchmarks.snapshot [CORE...]

CORES are names of cores.py: small-6.12, middle-6.12 and big-6.12, of which the figures per page and the slope
are printed.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cores import core
from benchmarks.measure import PAGEOWNER, cost, start

CORES = ("small-6.12", "middle-6.12", "big-6.12")


def main() -> None:
    began = start()
    print(f"start (imports, types, symbols):{began}")
    points = []
    for name in sys.argv[1:] or CORES:
        path = core(name)
        pages = _pages(path)
        whole = cost([*PAGEOWNER, "summary", path], rounds=3)
        used = whole.beyond(began)
        points.append((pages, used.cpu, whole.mib))
        print(
            f"{name}: {pages} pages; summary{used}: 300 MiB + {(whole.mib - 300) * 2**20 / pages:.1f} B/page"
        )
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "snapshot"
            print(f"  record{cost([*PAGEOWNER, 'record', path, '-o', target]).beyond(began)}")
            print(
                f"  summary of the snapshot, start included{cost([*PAGEOWNER, 'summary', target], rounds=3)}"
            )
    for (a, cpu_a, mib_a), (b, cpu_b, mib_b) in itertools.pairwise(points):
        slope, memory = (cpu_b - cpu_a) / (b - a) * 1e6, (mib_b - mib_a) * 2**20 / (b - a)
        print(f"from {a} to {b} pages: {slope:.2f} us and {memory:.1f} B per further page")


def _pages(path: Path) -> int:
    line = [*PAGEOWNER, "summary", "--json", str(path)]
    document = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
    return int(document["totals"]["struct_pages"])


if __name__ == "__main__":
    main()
