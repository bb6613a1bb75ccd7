# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which slot is what, and the sizes of what a large host has."""

from __future__ import annotations

from dataclasses import dataclass

CLONE, SHMEM, TABLES = range(3)
SHMEM_BYTES = 100 << 30
SHMEM_USERS = 200
# Where the shmem file is mapped: the second entry of a five-level PGD, which no process uses.
SHMEM_PGD_SLOT = 1
STACK_GROUPS = 40
PID_STEP, INO_STEP = 2_000, 1_000_000
# What one P4D entry spans: vmalloc addresses of the next clone are so much higher.
VMALLOC_STEP = 1 << 39


@dataclass(frozen=True)
class Plan:
    """Slots of *slot_pages* PFNs; ``kinds[k]`` is what slot k is."""

    kinds: tuple[int, ...]
    slot_pages: int
    shmem_pages: int

    @property
    def clones(self) -> list[int]:
        """Slots that are copies; the first is the core itself."""
        return [slot for slot, kind in enumerate(self.kinds) if kind == CLONE]

    def first(self, kind: int) -> int:
        """The first slot of *kind*."""
        return self.kinds.index(kind)

    @property
    def end(self) -> int:
        """PFNs of all slots."""
        return len(self.kinds) * self.slot_pages

    @property
    def leaf_tables(self) -> int:
        """PTE tables with which one process maps the file."""
        return self.shmem_pages // 512


def plan(wanted_pages: int, used_pages: int, slot_pages: int, scale: int) -> Plan:
    """Slots for *wanted_pages* struct pages, of which one has *used_pages*; shmem: 1/*scale* of its size."""
    shmem_pages = (SHMEM_BYTES >> 12) // scale >> 18 << 18
    tables = SHMEM_USERS * (shmem_pages // 512 + shmem_pages // (512 * 512) + 2)
    shmem_slots = -(-shmem_pages // used_pages)
    # Tables lie one behind the other, from the beginning of their first slot on.
    table_slots = -(-tables // used_pages) + 1
    total = -(-wanted_pages // used_pages)
    clones = max(total - shmem_slots - table_slots, 2)
    kinds = (CLONE,) * clones + (SHMEM,) * shmem_slots + (TABLES,) * table_slots
    return Plan(kinds, slot_pages, shmem_pages)
