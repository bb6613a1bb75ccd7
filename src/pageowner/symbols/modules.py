# SPDX-License-Identifier: LGPL-2.1-or-later
"""Symbols outside the kernel image: loaded modules and BPF programs."""

from __future__ import annotations

from drgn import Program

from pageowner.symbols.table import Region


def load_regions(prog: Program) -> list[Region]:
    """Regions of all loaded modules and BPF programs."""
    return []
