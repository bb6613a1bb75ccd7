"""A damaged core costs pages, not the program: bit flips drawn from the bytes that a scan reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import drgn
import pytest

from pageowner.kernel.target import Kernel
from pageowner.snapshot.report import Selection, report_tables
from pageowner.snapshot.scan import open_scan
from pageowner.symbols.attach import attach
from pageowner.symbols.vmcoreinfo import read_vmcoreinfo
from tests.robustness.flips import ReadLog, flipped, run_command

PER_RUN = 25
SECONDS = 60
MOST_MEMORY = 2_000_000_000
STATUSES = (0, 1, 4)


def read_ranges(core: Path) -> ReadLog:
    """The log of one whole report with mappings."""
    prog = drgn.Program()
    prog.set_core_dump(core)
    log = ReadLog(core, prog)
    scan = open_scan(Kernel(prog, attach(prog), read_vmcoreinfo(prog)))
    assert sum(table.height for table in report_tables(scan, Selection(mappings=True))) > 1000
    return log


@pytest.mark.two_kernels
def test_flips(capture, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    core = tmp_path / "core"
    shutil.copy(capture.core, core)
    log = read_ranges(core)
    assert sum(size for _, size in log.ranges) > 5 << 20
    total = pytestconfig.getoption("--flips")
    for seed in range(total // PER_RUN):
        with flipped(core, log.offsets(seed, PER_RUN), seed):
            run = run_command(["report", "--mappings", str(core)], SECONDS)
        assert run.status in STATUSES, (seed, run)
        assert "Traceback" not in run.stderr and "internal error" not in run.stderr, (seed, run)
        assert 0 < run.peak < MOST_MEMORY, (seed, run)
