# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a scan costs beside merely reading what it must read, on one core file in one run.

    python -m benchmarks.scan [CORE [ROUNDS]]

CORE is a file, or a name of cores.py (big-6.12).

Reading: the memmap and page_ext of all present sections in one read each, and every page of user page
tables. Scan: the tables of ``pageowner summary``, symbols and types already loaded. Both are timed in
turn; the medians of CPU time and their ratio are printed, with the peak memory of the whole process.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from pathlib import Path

from benchmarks.cores import CORES
from benchmarks.cores import core as benchmark_core
from pageowner.kernel.page_owner import PageOwner, read_page_owner
from pageowner.kernel.pagetable.tables import read_tables
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel
from pageowner.snapshot.tables import take_snapshot
from pageowner.sources import open_core


def read_all(kernel: Kernel, tables: object) -> int:
    """Read memmap, page_ext and the page tables at PFNs *tables*; returns bytes."""
    sections, owner, total = read_sections(kernel), read_page_owner(kernel), 0
    for section in sections:
        total += len(kernel.read(section.memmap, section.n * sections.page_size))
        if isinstance(owner, PageOwner):
            found = owner.page_ext.read(section)
            total += 0 if found is None else found[0].nbytes
    rows, _ = read_tables(kernel.read_phys, tables)  # type: ignore[arg-type]
    return total + int(rows.nbytes)


def main() -> None:
    name, rounds = (
        sys.argv[1] if len(sys.argv) > 1 else "big-6.12",
        int(sys.argv[2]) if len(sys.argv) > 2 else 5,
    )
    core = benchmark_core(name) if name in CORES else Path(name)
    began = time.process_time()
    kernel = open_core(core)
    opened = time.process_time() - began
    tables = kernel.memo(read_process_memory).tables.pfn
    reads, scans, pages, size = [], [], 0, 0
    for _ in range(rounds):
        began = time.process_time()
        size = read_all(kernel, tables)
        reads.append(time.process_time() - began)
        fresh = open_core(core)
        began = time.process_time()
        pages = take_snapshot(fresh).coverage.scanned
        scans.append(time.process_time() - began)
    read, scan = statistics.median(reads), statistics.median(scans)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"open {opened:.2f} s; read {size >> 20} MiB {read:.2f} s; scan of {pages} pages {scan:.2f} s")
    per_page = (peak - 300) * 2**20 / pages
    print(f"scan / read = {scan / read:.1f}; peak memory {peak} MiB = 300 MiB + {per_page:.1f} B/page")


if __name__ == "__main__":
    main()
