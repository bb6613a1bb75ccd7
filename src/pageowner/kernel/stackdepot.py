# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stack depot: from the 32-bit handles that page_owner keeps to call stacks (lib/stackdepot.c).

A handle is a bit-field: which pool, where in it, and bits for the user. Pools are few (a hundred or so) and
small (16 KiB), so those that are used are read whole and every handle is decoded in one numpy pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.errors import LayoutError
from pageowner.kernel.target import PAGE_SIZE, Kernel

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

STACK_ALIGN = 4  # DEPOT_STACK_ALIGN: offsets are in units of 16 bytes
POOL_SIZE = PAGE_SIZE << 2  # DEPOT_POOL_ORDER
MOST_FRAMES = 64  # CONFIG_STACKDEPOT_MAX_FRAMES; page_owner saves 16
REFCOUNT_SATURATED = 0xC0000000
_MOST_POOLS = 1 << 17

# Name of the index in union handle_parts, and what to take from it, likeliest first. It was slabindex until
# 6.2, pool_index from 961c949b012f (6.3), and pool_index_plus_1 from 6.9; 6.9-rc1 and 6.8.3 had the plus one
# under the old name, which is why a record is believed only if it holds its own handle.
_INDEX_NAMES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("pool_index_plus_1", (1, 0)),
    ("pool_index", (0, 1)),
    ("slabindex", (0,)),
)


@dataclass(frozen=True)
class Stacks:
    """Unique handles and their stacks.

    ``handle`` uint32[m], sorted; ``ok`` bool[m]: the depot knows this handle; ``start`` int64[m + 1]: the
    frames of row i are ``frames[start[i]:start[i + 1]]`` (uint64 addresses as stored, innermost first; none
    where not ok); ``pages`` int64[m]: base pages that the kernel itself counts for this stack
    (``nr_base_pages`` of show_stacks, 6.9+), -1 where it does not count.
    """

    handle: U32
    ok: Bools
    start: I64
    frames: U64
    pages: I64

    @property
    def depth(self) -> I64:
        """Number of frames of each handle, int64[m]."""
        return np.diff(self.start)


@dataclass(frozen=True)
class _Layout:
    """Bits of a handle and of a stack_record."""

    index_bits: int
    offset_bits: int
    biases: tuple[int, ...]
    size_at: int
    handle_at: int
    frames_at: int
    count_at: int | None

    @property
    def known_bits(self) -> int:
        """The bits that say where: not ``extra``, which users may set, nor ``valid``, which is always set."""
        return (1 << (self.index_bits + self.offset_bits)) - 1


class StackDepot:
    """The stack depot of *kernel*.

    :raises LayoutError: when its types or variables are missing.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        try:
            self._layout = _layout(kernel)
            self._table, self._longest = _pool_table(kernel)
        except (LookupError, drgn.FaultError) as error:
            raise LayoutError(f"the stack depot of this kernel cannot be found ({error})") from error
        self._slot: dict[int, int] = {}
        self._pools = np.zeros((0, POOL_SIZE), np.uint8)

    def stacks(self, handles: npt.NDArray[Any]) -> Stacks:
        """The stacks of *handles* (any order, duplicates allowed); 0 is no handle and left out.

        Nothing is raised for a handle that leads nowhere: its row is not ``ok``.
        """
        unique = np.unique(np.asarray(handles, np.uint32))
        unique = unique[unique != 0]
        at = np.full(len(unique), -1, np.int64)
        for bias in self._layout.biases:
            lost = np.flatnonzero(at < 0)
            at[lost] = self._find(unique[lost], bias)
        return self._decode(unique, at)

    def _find(self, handles: U32, bias: int) -> I64:
        """Byte offset in ``_pools`` of each handle's record; -1 where that record is not the handle's."""
        layout = self._layout
        wide = handles.astype(np.int64)
        pool = (wide & ((1 << layout.index_bits) - 1)) - bias
        offset = ((wide >> layout.index_bits) & ((1 << layout.offset_bits) - 1)) << STACK_ALIGN
        fits = (pool >= 0) & (pool < self._longest) & (offset + layout.frames_at <= POOL_SIZE)
        self._load(np.unique(pool[fits]))
        slots = np.array([self._slot.get(p, -1) for p in pool.tolist()], np.int64)
        fits &= slots >= 0
        at = np.where(fits, slots * POOL_SIZE + offset, 0)
        known = np.uint32(layout.known_bits)
        same = (self._words(at, layout.handle_at, "<u4") & known) == (handles & known)
        size = self._words(at, layout.size_at, "<u4").astype(np.int64)
        inside = (size > 0) & (size <= MOST_FRAMES) & (offset + layout.frames_at + size * 8 <= POOL_SIZE)
        return np.where(fits & same & inside, at, -1)

    def _words(self, at: I64, offset: int, fmt: str) -> npt.NDArray[Any]:
        """The word of format *fmt* at *offset* of each record; records are aligned to 16 bytes."""
        words = self._pools.reshape(-1).view(fmt)
        if not len(words):
            return np.zeros(len(at), fmt)
        return np.asarray(words[(at + offset) // words.itemsize])

    def _decode(self, handles: U32, at: I64) -> Stacks:
        ok = at >= 0
        where = np.maximum(at, 0)
        depth = np.where(ok, self._words(where, self._layout.size_at, "<u4").astype(np.int64), 0)
        start = np.concatenate(([0], np.cumsum(depth)))
        nth = np.arange(int(start[-1])) - np.repeat(start[:-1], depth)
        frames = self._words(np.repeat(where, depth) + nth * 8, self._layout.frames_at, "<u8")
        return Stacks(handles, ok, start, frames, self._counts(where, ok))

    def _counts(self, at: I64, ok: Bools) -> I64:
        if self._layout.count_at is None:
            return np.full(len(at), -1, np.int64)
        count = self._words(at, self._layout.count_at, "<u4").astype(np.int64)
        # A record that page_owner never counted stays as stack_depot_save() left it, saturated.
        return np.where(ok & (count != REFCOUNT_SATURATED), count - 1, -1)

    def _load(self, pools: I64) -> None:
        """Read those of *pools* that are not read yet; one that cannot be read at all gets no slot."""
        new = [p for p in pools.tolist() if p not in self._slot]
        if not new:
            return
        table, _ = self.kernel.read_pieces(self._table, (max(new) + 1) * 8)
        addresses = np.frombuffer(bytes(table), "<u8")[new]
        blocks = [self._pools]
        for pool, address in zip(new, addresses.tolist(), strict=True):
            self._slot[pool] = -1
            data, ok = self.kernel.read_pieces(address, POOL_SIZE)
            if ok.any():
                self._slot[pool] = len(self._pools) + len(blocks) - 1
                blocks.append(np.frombuffer(bytes(data), np.uint8).reshape(1, POOL_SIZE))
        self._pools = np.concatenate(blocks)


def special_handles(kernel: Kernel) -> dict[int, str]:
    """Handles that stand for something else than a call stack, with the kernel's names for them.

    ``dummy_handle``: page_owner itself allocated (it does not recurse); ``failure_handle``: the depot was
    full; ``early_handle``: allocated before page_owner was up.
    """
    found = {}
    for name in ("dummy_handle", "failure_handle", "early_handle"):
        try:
            found[int(kernel.object(name))] = name
        except (LookupError, drgn.FaultError):
            continue
    found.pop(0, None)
    return found


def early_handles(kernel: Kernel) -> list[int]:
    """The handle of pages that page_owner found in use when it came up; none where nothing is recorded."""
    return [handle for handle, name in special_handles(kernel).items() if name == "early_handle"]


def _layout(kernel: Kernel) -> _Layout:
    parts = kernel.prog.type("union handle_parts")
    widths = {
        member.name: member.bit_field_size or 32
        for field in parts.members
        if field.type.kind == drgn.TypeKind.STRUCT
        for member in field.type.members
    }
    index = next(((name, biases) for name, biases in _INDEX_NAMES if name in widths), None)
    if index is None:
        raise LookupError("union handle_parts has no known index")
    has_count = kernel.has_member("struct stack_record", "count")  # 6.8+
    return _Layout(
        index_bits=widths[index[0]],
        offset_bits=widths["offset"],
        biases=index[1],
        size_at=kernel.offset("struct stack_record", "size"),
        handle_at=kernel.offset("struct stack_record", "handle"),
        frames_at=kernel.offset("struct stack_record", "entries"),
        count_at=kernel.offset("struct stack_record", "count") if has_count else None,
    )


def _pool_table(kernel: Kernel) -> tuple[int, int]:
    """Address of the array of pool addresses, and its length at most."""
    for name in ("stack_pools", "stack_slabs"):  # the second until 6.2
        try:
            table = kernel.object(name)
        except LookupError:
            continue
        if table.type_.kind == drgn.TypeKind.ARRAY:
            return int(table.address_ or 0), int(table.type_.length or 0)
        # 6.17: allocated at boot
        return int(table), min(int(kernel.object("stack_max_pools")), _MOST_POOLS)
    raise LookupError("neither stack_pools nor stack_slabs")


def depot_memory(kernel: Kernel) -> list[tuple[str, list[tuple[int, int]]]]:
    """What memory the depot takes: (name, [(address, bytes), …]) of its pools, hash table and list of pools.

    :raises LookupError: when the list of pools cannot be found.
    """
    table, longest = _pool_table(kernel)
    data, _ = kernel.read_pieces(table, longest * 8)
    pools = np.unique(np.append(np.frombuffer(bytes(data), "<u8"), np.uint64(_spare_pool(kernel))))
    memory = [("pools", [(address, POOL_SIZE) for address in pools[pools != 0].tolist()])]
    memory.append(("hash table", _hash_table(kernel)))
    # In the kernel image until 6.16; allocated at boot since.
    is_pointer = "stack_max_pools" in kernel.symbols
    memory.append(("list of pools", [(table, longest * 8)] if is_pointer else []))
    return memory


def _spare_pool(kernel: Kernel) -> int:
    """The pool that is allocated but not yet on the list (6.5+)."""
    try:
        return int(kernel.object("new_pool"))
    except (LookupError, drgn.FaultError):
        return 0


def _hash_table(kernel: Kernel) -> list[tuple[int, int]]:
    try:
        mask = int(kernel.object("stack_hash_mask"))  # 5.18; before, a macro
        element = drgn.sizeof(kernel.object("stack_table").type_.type)
        return [(int(kernel.object("stack_table")), min(mask + 1, 1 << 24) * element)]
    except (LookupError, drgn.FaultError):
        return []
