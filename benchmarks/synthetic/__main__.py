# SPDX-License-Identifier: LGPL-2.1-or-later
"""Time and memory of ``summary`` on a synthetic machine.

    python -m benchmarks.synthetic [GIB [SCALE]]

GIB of memory (1024) with a shmem file of 100 GiB / SCALE (1) that 200 processes map. Printed are the seconds,
those that the source took to make up what was read, the peak memory, and the unique things that were found.
"""

from __future__ import annotations

import io
import resource
import sys
import time

from benchmarks.cores import core
from benchmarks.synthetic.machine import Machine
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.vma import read_vmas
from pageowner.kernel.vmap import read_vmap_areas
from pageowner.reporters.options import SummaryOptions
from pageowner.reporters.summary_text import write_summary_text
from pageowner.snapshot.tables import take_snapshot


def main() -> None:
    gib = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    scale = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    machine = Machine(core("seed-6.12"), gib << 18, scale)
    kernel = machine.kernel()
    machine.seconds, passed, used = 0.0, time.perf_counter(), time.process_time()
    snapshot = take_snapshot(kernel)
    out = io.BytesIO()
    write_summary_text(snapshot, SummaryOptions(rows=10, color=False), out)
    passed, used = time.perf_counter() - passed, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    memory = kernel.memo(read_process_memory)
    print(out.getvalue().decode())
    print(f"{snapshot.coverage.scanned} struct pages: {passed:.1f} s, {used:.1f} s of CPU")
    print(f"of these the source itself: {machine.seconds:.1f} s; peak memory {peak:.0f} MiB")
    mappings = memory.mappings
    print(f"{mappings.mapped_pages()} mappings in {mappings.runs} runs, {mappings.nbytes >> 20} MiB")
    print(
        f"{len(memory.mms)} mms, {len(memory.tasks)} tasks, {len(memory.tables)} page tables, {memory.counts}"
    )
    rows = snapshot.usage.height
    print(f"{snapshot.owners.height} owners, {snapshot.stacks.height} stacks, {rows} usage rows")
    print(f"{kernel.memo(read_vmap_areas).frame.height} vmap areas; {snapshot.remarks}")
    print(f"{len(read_vmas(kernel, memory.mms))} VMAs")


if __name__ == "__main__":
    main()
