# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the type number of a non-present page-table entry means on this kernel.

The numbers are macros (include/linux/swap.h), so no type information has them: which special types
exist, and how many numbers each takes, follows from the configuration. What the kernel has of
enumerators and functions gives that away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import Kernel

TYPES = 32  # 1 << MAX_SWAPFILES_SHIFT
# What an entry of each type is.
SWAP, HWPOISON, MIGRATION, DEVICE, OTHER = range(5)


@dataclass(frozen=True)
class SwapTypes:
    """``kinds``: uint8[32], what each type is; ``pfn_mask``: the bits of the offset that are a PFN."""

    kinds: npt.NDArray[np.uint8]
    pfn_mask: int

    @property
    def max_swapfiles(self) -> int:
        """``MAX_SWAPFILES``: types below are real swap areas."""
        return int(np.count_nonzero(self.kinds == SWAP))


def swap_types(
    hwpoison: int, migration: int, device: int, markers: int, pfn_bits: int | None = None
) -> SwapTypes:
    """The table for a kernel that gives each special kind so many numbers, in the kernel's order.

    :param markers: those after the device types: PTE markers, and 6.1's SWP_SWAPIN_ERROR.
    :param pfn_bits: ``SWP_PFN_BITS``; None when the whole offset is the PFN.
    """
    special = [HWPOISON] * hwpoison + [MIGRATION] * migration + [DEVICE] * device + [OTHER] * markers
    kinds = np.array([SWAP] * (TYPES - len(special)) + special, np.uint8)
    return SwapTypes(kinds, (1 << (pfn_bits or 58)) - 1)


def read_swap_types(kernel: Kernel) -> SwapTypes:
    """The table of *kernel*, probed."""
    # 5.19 (6c287605fd56): a third migration type, together with PG_anon_exclusive. The young and dirty
    # bits above the PFN came in 6.1 (2e3468778dbe, be45a4902c7c); before, these bits are always zero.
    exclusive = kernel.constant("PG_anon_exclusive") is not None
    migration = 0 if "migrate_pages" not in kernel.symbols else 3 if exclusive else 2
    hwpoison = int(kernel.constant("PG_hwpoison") is not None)
    physical = kernel.number("MAX_PHYSMEM_BITS")
    pfn_bits = physical - 12 if exclusive and physical else None
    return swap_types(hwpoison, migration, _device(kernel, exclusive), _markers(kernel, exclusive), pfn_bits)


def _device(kernel: Kernel, exclusive: bool) -> int:
    """``SWP_DEVICE_NUM``: 0 without DEVICE_PRIVATE."""
    if "make_device_exclusive" in kernel.symbols:  # 6.15: one type for exclusive access
        return 3
    if "make_device_exclusive_range" in kernel.symbols:  # 5.14 … 6.14
        return 4
    # Later kernels have this function for other reasons, too.
    return 2 if not exclusive and "devm_request_free_mem_region" in kernel.symbols else 0


def _markers(kernel: Kernel, exclusive: bool) -> int:
    """``SWP_PTE_MARKER_NUM`` and, in 5.19 … 6.1, ``SWP_SWAPIN_ERROR_NUM``."""
    if not exclusive:
        return 0
    has = kernel.has_member
    if has("struct page", "compound_mapcount") and not has("struct page", "subpages_mapcount"):
        # Up to 6.1 only PTE_MARKER_UFFD_WP selects markers; it is on by default with userfaultfd.
        return 1 + ("mwriteprotect_range" in kernel.symbols)
    return 1  # 6.2 (ca92ea3dc5a2): always, and the swap-in error became a marker
