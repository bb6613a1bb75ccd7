# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the time of a scan or a report goes.

    python -m benchmarks.profile [summary|report [CORE [ROWS]]]

The ROWS (40) functions that take most of the CPU time, callees included, then without these.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import sys
from pathlib import Path

from benchmarks.cores import CORES, core
from pageowner.reporters.report_text import write_report
from pageowner.snapshot.report import Selection, report_tables
from pageowner.snapshot.scan import open_scan
from pageowner.snapshot.tables import take_snapshot
from pageowner.sources import open_core


class Nowhere(io.RawIOBase):
    def write(self, data: object) -> int:
        return len(data)  # type: ignore[arg-type]


def main() -> None:
    what, name, rows = (*sys.argv[1:], *("summary", "big-6.12", "40")[len(sys.argv) - 1 :])
    kernel = open_core(core(name) if name in CORES else Path(name))
    profile = cProfile.Profile()
    profile.enable()
    if what == "summary":
        take_snapshot(kernel)
    else:
        write_report(report_tables(open_scan(kernel), Selection()), Nowhere())  # type: ignore[arg-type]
    profile.disable()
    stats = pstats.Stats(profile)
    stats.sort_stats("cumulative").print_stats("pageowner", int(rows))
    stats.sort_stats("tottime").print_stats(int(rows))


if __name__ == "__main__":
    main()
