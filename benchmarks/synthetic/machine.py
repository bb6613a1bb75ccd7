# SPDX-License-Identifier: LGPL-2.1-or-later
"""The large machine as a drgn program: memory that is worked out when it is read."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.synthetic.patches import Patches
from benchmarks.synthetic.plan import CLONE, SHMEM, SHMEM_USERS, STACK_GROUPS, TABLES, Plan, plan
from benchmarks.synthetic.relocate import Relocator
from benchmarks.synthetic.seed import Seed, read_seed
from pageowner.kernel.target import Kernel
from pageowner.sources.elfcore import open_core
from pageowner.symbols.attach import attach
from pageowner.symbols.vmcoreinfo import read_vmcoreinfo

U64 = npt.NDArray[np.uint64]
PAGE = 4096
LEAF_FLAGS = 0x8000000000000867
TABLE_FLAGS = 0x67


class Machine:
    """*pages* struct pages made of the core at *path*; the shmem file has 1/*scale* of 100 GiB."""

    def __init__(self, path: Path, pages: int, scale: int = 1) -> None:
        self.seed: Seed = read_seed(path)
        used = sum(section.n for section in self.seed.sections)
        self.plan: Plan = plan(pages, used, self.seed.pages, scale)
        self.pages = used * len(self.plan.kinds)
        self.seconds = 0.0
        """CPU time that the source itself took."""
        self._core = open_core(path).prog
        self._relocator = Relocator(self.seed, self.plan)
        self._shift = self.plan.slot_pages * PAGE
        self._sections = np.array([s.nr for s in self.seed.sections])
        self._shmem_first = self.plan.first(SHMEM) * self.plan.slot_pages
        self._used_pfns = np.concatenate([np.arange(s.start, s.start + s.n) for s in self.seed.sections])
        self._extra = self._make_patches()
        self._ext = self._page_ext_places()

    # -- layout of the shmem file and its tables ------------------------------------------------

    def _table_phys(self, number: int) -> int:
        """Physical address of table page *number*: they lie densely in the table slots' sections."""
        return int(self._tables_phys(np.array([number]))[0])

    def _tables_phys(self, numbers: npt.NDArray[np.int64]) -> U64:
        slot, at = np.divmod(numbers, len(self._used_pfns))
        first = (slot + self.plan.first(TABLES)) * self.plan.slot_pages
        return ((first + self._used_pfns[at]) * PAGE).astype(np.uint64)

    def _make_patches(self) -> bytes:
        patches = Patches(self.seed, self.plan)
        patches.lists()
        patches.numbers()
        patches.limits()
        patches.vmalloc()
        spare = self.plan.end * PAGE
        parts = [patches.vmemmap(spare)]
        parts.append(patches.sections(spare + len(parts[0])))
        pools, self._pools = patches.stacks(spare + sum(map(len, parts)))
        parts.append(pools)
        leaves, middles = self.plan.leaf_tables, self.plan.leaf_tables // 512
        self._uppers = SHMEM_USERS * leaves
        per_user = middles + 2
        roots = [self._table_phys(self._uppers + user * per_user) for user in range(SHMEM_USERS)]
        patches.shmem_users(roots)
        self._patch_at, self._patch_value = patches.done()
        return b"".join(parts)

    def _page_ext_places(self) -> tuple[U64, U64]:
        """Physical start and end of each section's page_ext table."""
        ext = self.seed.page_ext
        starts = [ext.address(s.page_ext, s.start) for s in self.seed.sections]
        physical = self.seed.phys(np.array(starts, np.uint64))
        order = np.argsort(physical)
        size = np.uint64(self.seed.sections.rows[0].n * ext.entry_size)
        return physical[order], physical[order] + size

    # -- reading --------------------------------------------------------------------------------

    def kernel(self) -> Kernel:
        """The machine, opened."""
        prog = open_core(self.seed.path).prog
        top = self.plan.end * PAGE
        prog.add_memory_segment(self._shift, top - self._shift, self._read, True)
        prog.add_memory_segment(top, len(self._extra), self._read_extra, True)
        linear = self.seed.kernel.page_offset
        prog.add_memory_segment(linear + self._shift, top - self._shift, self._read_linear, False)
        prog.add_memory_segment(linear + top, len(self._extra), self._read_extra, False)
        base = np.unique(self._patch_at[self._patch_at < self._shift] // PAGE)
        for page in base.tolist():
            prog.add_memory_segment(page * PAGE, PAGE, self._read, True)
            prog.add_memory_segment(linear + page * PAGE, PAGE, self._read_linear, False)
        return Kernel(prog, attach(prog), read_vmcoreinfo(prog))

    def _read_extra(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        return self._extra[offset : offset + count]

    def _read_linear(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        return self._read(address - self.seed.kernel.page_offset, count, offset, True)

    def _read(self, address: int, count: int, offset: int, physical: bool) -> bytes:
        began = time.thread_time()
        start, end = address // PAGE * PAGE, -(-(address + count) // PAGE) * PAGE
        out = self._pages(start, end - start)
        self.seconds += time.thread_time() - began
        return out[address - start : address - start + count].tobytes()

    def _pages(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        """Whole pages of physical memory."""
        slot, at = divmod(address, self._shift)
        if self.plan.kinds[slot] == TABLES and self.seed.memmap_page(at) is None:
            data = self._user_tables(address, size)
        else:
            data = np.frombuffer(bytearray(self._core.read(at, size, True)), np.uint8)
            self._clone(data, slot, at, size)
        low, high = np.searchsorted(self._patch_at, [address, address + size])
        if low < high:
            words = data.view(np.uint64)
            words[((self._patch_at[low:high] - np.uint64(address)) >> np.uint64(3)).astype(np.int64)] = (
                self._patch_value[low:high]
            )
        return data

    def _clone(self, data: npt.NDArray[np.uint8], slot: int, at: int, size: int) -> None:
        if not slot:
            return
        section = self.seed.memmap_page(at)
        if self.plan.kinds[slot] != CLONE and section is not None:
            self._structs(data, slot, section, at)
            return
        ext = int(np.searchsorted(self._ext[0], at, side="right")) - 1
        if ext >= 0 and at < self._ext[1][ext]:
            self._handles(data, slot, at - int(self._ext[0][ext]))
            return
        first = at // PAGE
        tables = self.seed.tables[first : first + size // PAGE]
        if not tables.any():
            self._relocator.words(data.view(np.uint64), slot)
            return
        rows = data.view(np.uint64).reshape(-1, 512)
        if tables.all():
            self._relocator.entries(rows, slot)
            return
        of_tables, others = rows[tables], rows[~tables].reshape(-1)
        self._relocator.entries(of_tables, slot)
        self._relocator.words(others, slot)
        rows[tables], rows[~tables] = of_tables, others.reshape(-1, 512)

    def _handles(self, data: npt.NDArray[np.uint8], slot: int, offset: int) -> None:
        """Stack handles in page_ext become those of the slot's group."""
        size, dtype = self.seed.page_ext.entry_size, self.seed.page_owner.dtype
        group = slot % STACK_GROUPS
        for name in ("handle", "free_handle"):
            at = (dtype.fields or {})[name][1]
            first = -(-(offset - at) // size) * size + at - offset
            count = (len(data) - 4 - first) // size + 1
            if count > 0:
                column = np.ndarray((count,), "<u4", data, first, (size,))
                column[(column & 0x1FFFF) != 0] += np.uint32(group * self._pools)

    def _structs(self, data: npt.NDArray[np.uint8], slot: int, section: int, at: int) -> None:
        """Struct pages of the shmem file or of page tables, in place of those of the core."""
        size = self.seed.sections.page_size
        skip = (at - int(self.seed.memmap[section])) // size
        n = len(data) // size
        kind = self.plan.kinds[slot]
        template = self.seed.shmem_page if kind == SHMEM else self.seed.table_page
        rows = data.reshape(n, size)
        rows[:] = np.frombuffer(template, np.uint8)
        if kind == SHMEM:
            place = int(np.searchsorted(self._sections, section)) * self.seed.sections.rows[0].n + skip
            index = (slot - self.plan.first(SHMEM)) * len(self._used_pfns) + place
            at_index = self.seed.kernel.offset("struct page", "__folio_index", "index")
            column = np.ndarray((n,), "<u8", data, at_index, (size,))
            column[:] = np.arange(index, index + n)

    def _user_tables(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        rows = np.empty((size // PAGE, 512), np.uint64)
        slot, at = divmod(address, self._shift)
        first = (slot - self.plan.first(TABLES)) * len(self._used_pfns)
        first += int(np.searchsorted(self._used_pfns, at // PAGE))
        # Leaves of user 0, of user 1, …; then P4D, PUD and PMDs of each user.
        leaves = min(max(self._uppers - first, 0), len(rows))
        self._leaves(first, rows[:leaves])
        for row in range(leaves, len(rows)):
            self._upper(first + row, rows[row])
        return rows.view(np.uint8).reshape(-1)

    def _leaves(self, number: int, out: U64) -> None:
        """Table pages *number* …: each maps 512 neighbours of the shmem file."""
        page = np.arange(number, number + len(out)) % self.plan.leaf_tables * 512
        slot, place = np.divmod(page, len(self._used_pfns))
        pfn = (self.plan.first(SHMEM) + slot) * self.plan.slot_pages + self._used_pfns[place]
        entry = pfn.astype(np.uint64) * np.uint64(PAGE) + np.uint64(LEAF_FLAGS)
        np.add(entry[:, None], np.arange(512, dtype=np.uint64) * np.uint64(PAGE), out=out)

    def _upper(self, number: int, out: U64) -> None:
        leaves = self.plan.leaf_tables
        middles = leaves // 512
        out[:] = 0
        user, part = divmod(number - self._uppers, middles + 2)
        if user >= SHMEM_USERS:
            return
        base = self._uppers + user * (middles + 2)
        if part == 0:
            out[0] = self._table_phys(base + 1) | TABLE_FLAGS
        elif part == 1:
            out[:middles] = self._tables_phys(base + 2 + np.arange(middles)) | np.uint64(TABLE_FLAGS)
        else:
            first = user * leaves + (part - 2) * 512
            out[:] = self._tables_phys(first + np.arange(512)) | np.uint64(TABLE_FLAGS)
