# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel image in memory: which part of it lies where (arch/x86/kernel/vmlinux.lds.S)."""

from __future__ import annotations

from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import PAGE_SHIFT, Kernel

I64 = npt.NDArray[np.int64]

# (symbol, what begins there), by address. Until the next symbol everything is of that part: what lies
# between is alignment, or small tables of the same kind.
_PARTS = (
    ("_text", "text"),
    ("_stext", "text"),
    ("__start_rodata", "rodata"),
    ("_sdata", "data"),
    ("__init_begin", "init"),
    ("__init_end", "data"),
    ("__bss_start", "bss"),
    ("__brk_base", "brk"),
)


@dataclass(frozen=True)
class Image:
    """``start`` int64: first PFN of each part, ascending; ``name`` of each; ``end``: PFN behind the last."""

    start: I64
    name: tuple[str, ...]
    end: int

    def part(self, pfns: I64) -> I64:
        """Number of the part that each PFN is in; -1 outside the image."""
        at = np.searchsorted(self.start, pfns, "right") - 1
        return np.where(pfns < self.end, at, -1)


def read_image(kernel: Kernel) -> Image:
    """Where the parts of the image are; :class:`LookupError` without its symbols."""
    found = sorted(
        (kernel.symbols.lookup(symbol), name) for symbol, name in _PARTS if symbol in kernel.symbols
    )
    if not found:
        raise LookupError("the kernel has no symbol _text or _stext")
    addresses = np.array([address for address, _ in found], np.uint64)
    start = (kernel.linear_to_phys(addresses)[0] >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    end = kernel.linear_to_phys(np.array([_end(kernel)], np.uint64))[0]
    last = (int(end[0]) + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT
    return Image(start, tuple(name for _, name in found), last)


def _end(kernel: Kernel) -> int:
    """The address behind what of the brk area was used at boot; the rest was freed."""
    try:
        return int(kernel.object("_brk_end"))
    except (LookupError, drgn.FaultError):
        return kernel.symbols.lookup("__bss_stop")
