# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this machine and this user are allowed: lockdown, capabilities, and how to become root."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

CAP_SYS_RAWIO = 17
CAP_SYS_ADMIN = 21
_LOCKDOWN = Path("/sys/kernel/security/lockdown")


def lockdown(path: Path = _LOCKDOWN) -> str | None:
    """``none``, ``integrity`` or ``confidentiality``; None where the kernel does not say."""
    try:
        words = path.read_text().split()
    except OSError:
        return None
    return next((word.strip("[]") for word in words if word.startswith("[")), None)


def has_capability(number: int, status: Path = Path("/proc/self/status")) -> bool:
    """Whether this process has the capability (in its effective set)."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return os.geteuid() == 0
    found = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(found, 16) >> number & 1)


def sudo_command(argv: list[str] | None = None) -> str:
    """The literal command that runs the same as root.

    The whole path of the program: sudo looks for commands in its own ``secure_path``, which has no
    virtual environment and no ~/.local/bin.
    """
    words = list(sys.argv if argv is None else argv) or ["pageowner"]
    program = os.path.abspath(words[0])
    start = [program] if os.access(program, os.X_OK) else [sys.executable, "-m", "pageowner"]
    return shlex.join(["sudo", *start, *words[1:]])
