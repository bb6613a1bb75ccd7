# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrate types (mobility groups) and migrate reasons, with the target's names for them."""

from __future__ import annotations

from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.flag_names import read_names
from pageowner.kernel.target import Kernel

# ___GFP_MOVABLE and ___GFP_RECLAIMABLE: bits 3 and 4 in every kernel; named in enum since 6.12.
_MOVABLE_BIT = 3


@dataclass(frozen=True)
class MigrateTypes:
    """Names and rules of one kernel.

    ``names``: of migrate types by number; ``reasons``: of migrate reasons by number; ``never``: the
    ``last_migrate_reason`` of a page that was not migrated; ``grouping``: False when the machine is so small
    that the kernel does not group pages by mobility.
    """

    names: tuple[str, ...]
    reasons: tuple[str, ...]
    never: int
    grouping: bool
    movable_bit: int = _MOVABLE_BIT

    def of_gfp(self, masks: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
        """``gfp_migratetype()`` of each gfp mask, uint8[n]."""
        if not self.grouping:
            return np.zeros(len(masks), np.uint8)
        return ((masks >> np.uint32(self.movable_bit)) & np.uint32(3)).astype(np.uint8)

    def name(self, number: int) -> str:
        """Name of migrate type *number*; the number itself where the target has no name for it."""
        return self.names[number] if 0 <= number < len(self.names) else str(number)

    def reason(self, number: int) -> str:
        """Name of migrate reason *number*, or the number."""
        return self.reasons[number] if 0 <= number < len(self.reasons) else str(number)


def read_migrate_types(kernel: Kernel) -> MigrateTypes:
    """The migrate types of *kernel*; what the source lacks is left as numbers."""
    # 7.3: "never" has become the last reason; until then it is -1.
    never = kernel.constant("MR_NEVER")
    bit = kernel.constant("___GFP_MOVABLE_BIT")
    return MigrateTypes(
        names=read_names(kernel, "migratetype_names", kernel.constant("MIGRATE_TYPES")),
        reasons=read_names(kernel, "migrate_reason_names", kernel.constant("MR_TYPES")),
        never=-1 if never is None else never,
        grouping=not _grouping_disabled(kernel),
        movable_bit=_MOVABLE_BIT if bit is None else bit,
    )


def _grouping_disabled(kernel: Kernel) -> bool:
    try:
        return bool(int(kernel.object("page_group_by_mobility_disabled")))
    except (LookupError, drgn.FaultError):
        return False
