# SPDX-License-Identifier: LGPL-2.1-or-later
"""`make bench`: every benchmark of README.md, one after the other, each headed by its command.

    python -m benchmarks [NAME...]

A benchmark that fails is said to have, and the others go on; then the exit status is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

BENCHMARKS = {
    "scan": ["benchmarks.scan"],
    "sample": ["benchmarks.sample"],
    "snapshot": ["benchmarks.snapshot"],
    "report": ["benchmarks.report"],
    "live": ["benchmarks.live"],
    "synthetic-64": ["benchmarks.synthetic", "64", "16"],
    "synthetic-256": ["benchmarks.synthetic", "256", "4"],
    "synthetic": ["benchmarks.synthetic"],
}


def main() -> int:
    failed = []
    for name in sys.argv[1:] or BENCHMARKS:
        line = [sys.executable, "-m", *BENCHMARKS[name]]
        load = os.getloadavg()[0]
        print(f"== {name}: python {' '.join(line[1:])} (load before {load:.1f})", flush=True)
        began = time.monotonic()
        if subprocess.run(line, check=False).returncode:
            failed.append(name)
        print(f"-- {time.monotonic() - began:.0f} s\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
