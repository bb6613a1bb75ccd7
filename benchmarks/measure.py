# SPDX-License-Identifier: LGPL-2.1-or-later
"""Time and memory of whole processes, and of the empty one to take away."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGEOWNER = [sys.executable, "-m", "pageowner"]


@dataclass(frozen=True)
class Cost:
    """Seconds passed, seconds of CPU, MiB at most."""

    passed: float
    cpu: float
    mib: float

    def __str__(self) -> str:
        return f"{self.passed:8.2f} s {self.cpu:8.2f} s of CPU {self.mib:6.0f} MiB"

    def beyond(self, start: Cost) -> Cost:
        """Without what the start takes anyway."""
        return Cost(self.passed - start.passed, self.cpu - start.cpu, self.mib)


def cost(line: Sequence[str | Path], stdin: str = "", rounds: int = 1) -> Cost:
    """The median of *rounds* runs of the command *line*; output goes nowhere, a failure ends everything."""
    found = [_once([str(word) for word in line], stdin) for _ in range(rounds)]
    return Cost(*(statistics.median(column) for column in zip(*found, strict=True)))


def _once(line: list[str], stdin: str) -> tuple[float, float, float]:
    began = time.monotonic()
    process = subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(stdin.encode())
    process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(line)} failed with status {process.returncode}")
    passed = time.monotonic() - began
    return passed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def start() -> Cost:
    """What every command that reads a core takes before it reads pages: imports, types, symbols."""
    return cost([*PAGEOWNER, "layers", "--demo"], rounds=3)
