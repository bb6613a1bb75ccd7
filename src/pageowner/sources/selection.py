# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which source the user asked for, before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SelectionKind = Literal["kernel", "core", "qemu", "demo", "path"]


@dataclass(frozen=True)
class SourceSelection:
    """One source. ``path`` goes with core and path, ``address`` and ``pause`` with qemu, ``symbols``
    (a vmlinux) and ``kallsyms`` (a System.map or saved /proc/kallsyms) with all.

    ``path`` as a kind is a positional argument: what it is is found out by sniffing.
    """

    kind: SelectionKind = "kernel"
    path: Path | None = None
    address: str | None = None
    symbols: Path | None = None
    kallsyms: Path | None = None
    pause: bool = False
