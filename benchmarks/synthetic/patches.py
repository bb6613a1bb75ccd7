# SPDX-License-Identifier: LGPL-2.1-or-later
"""Single words that differ from what moving pointers gives: where lists go on, numbers, tables of tables."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.synthetic.plan import INO_STEP, PID_STEP, SHMEM_PGD_SLOT, SHMEM_USERS, Plan
from benchmarks.synthetic.seed import Seed, tasks_of
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.stackdepot import StackDepot

U64 = npt.NDArray[np.uint64]
TABLE_FLAGS = 0x67  # present, writable, user, accessed, dirty


class Patches:
    """64-bit words by physical address, over all slots."""

    def __init__(self, seed: Seed, plan: Plan) -> None:
        self.seed, self.plan, self.kernel = seed, plan, seed.kernel
        self.shift = plan.slot_pages << 12
        self._parts: list[tuple[U64, U64]] = []

    def at(self, physical: U64, value: U64) -> None:
        self._parts.append((np.asarray(physical, np.uint64), np.asarray(value, np.uint64)))

    def done(self) -> tuple[U64, U64]:
        """(physical addresses, ascending; values)."""
        address = np.concatenate([p[0] for p in self._parts])
        value = np.concatenate([p[1] for p in self._parts])
        order = np.argsort(address, kind="stable")
        return address[order], value[order]

    def splice(self, head: int, step: int) -> None:
        """Let the list at *head* go on from clone to clone; addresses of nodes move by *step* per slot."""
        nodes = self.seed.ring(head)
        if not len(nodes):
            return
        first, _last = int(nodes[0]), int(nodes[-1])
        physical = int(self.seed.phys(nodes[-1:])[0])
        clones = self.plan.clones
        following = [first + slot * step for slot in clones[1:]] + [head]
        self.at(
            np.array([physical + slot * self.shift for slot in clones], np.uint64),
            np.array([value % (1 << 64) for value in following], np.uint64),
        )

    def lists(self) -> None:
        """Tasks, page directories, vmap areas."""
        kernel = self.kernel
        tasks = kernel.offset("struct task_struct", "tasks")
        self.splice(int(kernel.object("init_task").address_of_()) + tasks, self.shift)
        pages = self.plan.slot_pages * self.seed.sections.page_size
        self.splice(int(kernel.object("pgd_list").address_of_()), pages)
        nodes = kernel.object("vmap_nodes")
        for number in range(int(kernel.object("nr_vmap_nodes"))):
            self.splice(int(nodes[number].busy.head.address_of_()), self.shift)

    def numbers(self) -> None:
        """Process and inode numbers go on counting."""
        at = self.kernel.offset("struct task_struct", "pid")
        assert at % 8 == 0 and self.kernel.offset("struct task_struct", "tgid") == at + 4
        self._counted(tasks_of(self.seed) + np.uint64(at), PID_STEP | PID_STEP << 32)
        self._counted(self.seed.inodes + np.uint64(self.kernel.offset("struct inode", "i_ino")), INO_STEP)

    def _counted(self, addresses: U64, step: int) -> None:
        rows, ok = self.kernel.gather(addresses, np.dtype("<u8"))
        physical = self.seed.phys(addresses[ok])
        for slot in self.plan.clones[1:]:
            self.at(physical + np.uint64(slot * self.shift), rows[ok] + np.uint64(slot * step))

    def limits(self) -> None:
        """``max_pfn``."""
        address = np.array([int(self.kernel.object("max_pfn").address_of_())], np.uint64)
        self.at(self.seed.phys(address), np.array([self.plan.end], np.uint64))

    def vmalloc(self) -> None:
        """The page tables of the kernel lead to the clones' vmalloc areas, each *VMALLOC_STEP* higher."""
        base = int(self.kernel.object("vmalloc_base"))
        root = int(self.kernel.symbols.lookup("init_top_pgt"))
        entry = self.kernel.read(root + (base >> 48 & 511) * 8, 8)
        p4d = int.from_bytes(entry, "little") & ((1 << 52) - 1) & ~0xFFF
        index = base >> 39 & 511
        assert self.kernel.paging_levels == 5 and index + len(self.plan.kinds) < 512
        word = int.from_bytes(self.kernel.read_phys(p4d + index * 8, 8), "little")
        slots = self.plan.clones[1:]
        self.at(
            np.array([p4d + (index + slot) * 8 for slot in slots], np.uint64),
            np.array([word + slot * self.shift for slot in slots], np.uint64),
        )

    def vmemmap(self, spare: int) -> bytes:
        """PMD tables for the struct pages of all slots, to lie at physical address *spare*; returns them."""
        seed = self.seed
        base = seed.sections.vmemmap
        assert base % (1 << 30) == 0 and self.kernel.paging_levels == 5
        slots = len(self.plan.kinds)
        per_slot = len(seed.memmap)
        words = np.zeros(-(-slots * per_slot // 512) * 512, np.uint64)
        mapped = np.where(seed.memmap > 0, seed.memmap | 0x1E3, 0).astype(np.uint64)
        for slot in range(slots):
            moved = np.where(mapped > 0, mapped + np.uint64(slot * self.shift), 0)
            words[slot * per_slot : (slot + 1) * per_slot] = moved
        pud = self._table(base, (48, 39))
        count = len(words) // 512
        assert (base >> 30 & 511) + count <= 512
        at = np.arange(count, dtype=np.uint64)
        self.at(
            np.uint64(pud + (base >> 30 & 511) * 8) + at * np.uint64(8),
            np.uint64(spare | TABLE_FLAGS) + at * np.uint64(4096),
        )
        return words.tobytes()

    def _table(self, address: int, shifts: tuple[int, ...]) -> int:
        """Physical address of the table below those of *shifts* on the way to *address*."""
        root = np.array([self.kernel.symbols.lookup("init_top_pgt")], np.uint64)
        table = int(seed_phys(self.seed, root))
        for shift in shifts:
            word = int.from_bytes(self.kernel.read_phys(table + (address >> shift & 511) * 8, 8), "little")
            table = word & ((1 << 52) - 1) & ~0xFFF
        return table

    def shmem_users(self, roots: list[int]) -> None:
        """Give 200 processes the page tables whose topmost are at physical addresses *roots*."""
        mms = self.kernel.memo(read_process_memory).mms
        pgds = mms.pgd_pfn[mms.lowest_tgid > 1]
        clones = self.plan.clones[1:]
        per_clone = -(-SHMEM_USERS // len(clones))
        places = [(int(pgd) << 12) + slot * self.shift for slot in clones for pgd in pgds[:per_clone]]
        places = [place + SHMEM_PGD_SLOT * 8 for place in places[: len(roots)]]
        roots = roots[: len(places)]
        self.at(np.array(places, np.uint64), np.array([root | TABLE_FLAGS for root in roots], np.uint64))

    def sections(self, spare: int) -> bytes:
        """Pages of ``mem_section`` for all slots, to lie at physical address *spare*; returns them."""
        kernel = self.kernel
        root = kernel.vmcoreinfo.symbols["mem_section"]
        size = kernel.type("struct mem_section").size or 0
        per_root = 4096 // size
        first = int.from_bytes(kernel.read(root, 8), "little")
        old = np.frombuffer(kernel.read(first, per_root * size), np.uint64).reshape(per_root, size // 8)
        per_slot, slots = len(self.seed.memmap), len(self.plan.kinds)
        assert per_slot <= per_root
        count = -(-slots * per_slot // per_root)
        new = np.zeros((count * per_root, size // 8), np.uint64)
        at = kernel.offset("struct mem_section", "page_ext") // 8
        moved = self.shift - self.seed.page_ext.entry_size * self.plan.slot_pages
        for slot in range(slots):
            rows = old[:per_slot].copy()
            rows[rows[:, at] != 0, at] += np.uint64(slot * moved % (1 << 64))
            new[slot * per_slot : (slot + 1) * per_slot] = rows
        roots = np.uint64(kernel.page_offset + spare) + np.arange(count, dtype=np.uint64) * np.uint64(4096)
        places = np.uint64(root) + np.arange(count, dtype=np.uint64) * np.uint64(8)
        self.at(self.seed.phys(places), roots)
        return new.tobytes()

    def stacks(self, spare: int) -> tuple[bytes, int]:
        """More pools of the stack depot, to lie at physical address *spare*, and the pools of one group.

        Each group has the stacks of the core with other functions further out.
        """
        depot = StackDepot(self.kernel)
        layout, table = depot._layout, depot._table
        handles = self.seed.handles[self.seed.handles != 0]
        at = depot._find(handles, layout.biases[0])
        handles, at = handles[at >= 0], at[at >= 0]
        pools = int((handles & ((1 << layout.index_bits) - 1)).max())
        addresses = np.frombuffer(self.kernel.read(table, pools * 8), np.uint64)
        own = b"".join(self.kernel.read(int(a), 1 << 14) for a in addresses)
        # Offsets as in *own*: the index in a handle is that of the pool, plus one.
        index = (handles & np.uint32((1 << layout.index_bits) - 1)).astype(np.int64) - 1
        offset = (handles >> np.uint32(layout.index_bits) & np.uint32((1 << layout.offset_bits) - 1)) << 4
        where = index * (1 << 14) + offset.astype(np.int64)
        out = [_group(own, where, layout, group, pools) for group in range(1, self._groups)]
        places = np.uint64(table) + np.arange(pools, pools * self._groups, dtype=np.uint64) * np.uint64(8)
        values = np.uint64(self.kernel.page_offset + spare) + np.arange(
            len(places), dtype=np.uint64
        ) * np.uint64(1 << 14)
        self.at(self.seed.phys(places), values)
        return b"".join(out), pools

    @property
    def _groups(self) -> int:
        from benchmarks.synthetic.plan import STACK_GROUPS

        return STACK_GROUPS


def seed_phys(seed: Seed, addresses: U64) -> int:
    return int(seed.phys(addresses)[0])


def _group(own: bytes, where: npt.NDArray[np.int64], layout: object, group: int, pools: int) -> bytes:
    """The pools *own*, as those of *group*."""
    data = np.frombuffer(bytearray(own), np.uint8)
    half, word = data.view("<u4"), data.view("<u8")
    half[(where + layout.handle_at) // 4] += np.uint32(group * pools)  # type: ignore[attr-defined]
    depth = half[(where + layout.size_at) // 4]  # type: ignore[attr-defined]
    for frame in range(4, 16):
        deep = where[depth > frame]
        word[(deep + layout.frames_at) // 8 + frame] += np.uint64(group << 8)  # type: ignore[attr-defined]
    return data.tobytes()
