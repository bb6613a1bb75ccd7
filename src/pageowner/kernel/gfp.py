# SPDX-License-Identifier: LGPL-2.1-or-later
"""gfp masks in the target's own words: ``%pGg`` by its ``gfpflag_names`` (include/trace/events/mmflags.h)."""

from __future__ import annotations

from dataclasses import dataclass

from pageowner.kernel.flag_names import FlagNames, read_flag_names
from pageowner.kernel.target import Kernel


@dataclass(frozen=True)
class Gfp:
    """gfp masks of one kernel."""

    names: FlagNames

    def text(self, mask: int) -> str:
        """``%#x(%pGg)``, as ``0x152c4a(GFP_NOFS|…)``; 0 is ``0x0()``."""
        return f"0x{mask:x}({self.names.text(mask)})"


def read_gfp(kernel: Kernel) -> Gfp:
    """The gfp names of *kernel*; without its table masks are numbers only."""
    return Gfp(kernel.memo(_names))


def _names(kernel: Kernel) -> FlagNames:
    return read_flag_names(kernel, "gfpflag_names")
