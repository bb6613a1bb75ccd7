# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stack depot in all its layouts, built by hand: 5.10, 6.1, 6.5, 6.8 and 6.9+."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, cast

import drgn
import numpy as np
import pytest
from drgn import Object, Program, Type, TypeMember

from pageowner.errors import LayoutError
from pageowner.kernel.stackdepot import POOL_SIZE, StackDepot
from pageowner.kernel.target import Kernel

TABLE, POOLS = 0xFFFF_8000_0000_0000, (0xFFFF_8000_0001_0000, 0xFFFF_8000_0002_0000)


@dataclass(frozen=True)
class Layout:
    """Fields of union handle_parts, LSB first; where frames begin; the array; what is added to an index."""

    fields: dict[str, int]
    frames_at: int
    array: str
    pointer: bool = False
    plus: int = 0

    def handle(self, pool: int, offset: int) -> int:
        index = next(iter(self.fields.values()))
        valid = 1 << (index + 10) if "valid" in self.fields else 0
        return (pool + self.plus) | (offset >> 4) << index | valid


LAYOUTS = {
    "5.10": Layout({"slabindex": 21, "offset": 10, "valid": 1}, 24, "stack_slabs"),
    "6.1": Layout({"slabindex": 16, "offset": 10, "valid": 1, "extra": 5}, 24, "stack_slabs"),
    "6.5": Layout({"pool_index": 16, "offset": 10, "valid": 1, "extra": 5}, 24, "stack_pools"),
    "6.8": Layout({"pool_index": 17, "offset": 10, "extra": 5}, 32, "stack_pools"),
    "6.8.4": Layout({"pool_index": 17, "offset": 10, "extra": 5}, 32, "stack_pools", plus=1),
    "6.12": Layout({"pool_index_plus_1": 17, "offset": 10, "extra": 5}, 32, "stack_pools", plus=1),
    "6.17": Layout({"pool_index_plus_1": 17, "offset": 10, "extra": 5}, 32, "stack_pools", True, 1),
}


def program(layout: Layout, pools: list[bytes]) -> Program:
    """A program with the depot's types, its variables and *pools*."""
    prog = Program(drgn.Platform(drgn.Architecture.X86_64))
    u32, u64 = prog.int_type("u32", 4, False), prog.int_type("u64", 8, False)
    pointer = prog.pointer_type(prog.void_type())
    memory = struct.pack(f"<{len(POOLS) + 1}Q", TABLE + 8, *POOLS) + bytes(8 * 8192)
    prog.add_memory_segment(TABLE, len(memory), lambda a, n, o, p: memory[o : o + n])
    for address, pool in zip(POOLS, pools, strict=True):
        prog.add_memory_segment(address, POOL_SIZE, lambda a, n, o, p, pool=pool: pool[o : o + n])
    types = {
        "handle_parts": parts_type(prog, layout, u32),
        "stack_record": record_type(prog, layout, u32, u64),
    }
    prog.register_type_finder("test", lambda p, kinds, name, file: types.get(name), enable_index=0)
    array = prog.array_type(pointer, len(POOLS))
    objects = {
        layout.array: Object(prog, prog.pointer_type(pointer), address=TABLE)
        if layout.pointer
        else Object(prog, array, address=TABLE + 8),
    }
    if layout.pointer:
        objects["stack_max_pools"] = Object(prog, u32, 8192)
    prog.register_object_finder("test", lambda p, name, flags, file: objects.get(name), enable_index=0)
    return prog


def parts_type(prog: Program, layout: Layout, u32: Type) -> Type:
    members, at = [], 0
    for name, width in layout.fields.items():
        members.append(TypeMember(Object(prog, u32, bit_field_size=width), name, at))
        at += width
    fields = prog.struct_type(None, 4, members)
    return prog.union_type("handle_parts", 4, [TypeMember(u32, "handle"), TypeMember(fields)])


def record_type(prog: Program, layout: Layout, u32: Type, u64: Type) -> Type:
    head = layout.frames_at - 16 if layout.frames_at == 24 else 16
    names = [("hash", u32, head), ("size", u32, head + 4), ("handle", u32, head + 8)]
    if layout.frames_at == 32:
        names.append(("count", u32, head + 12))
    names.append(("entries", prog.array_type(u64, 64), layout.frames_at))
    members = [TypeMember(kind, name, at * 8) for name, kind, at in names]
    return prog.struct_type("stack_record", layout.frames_at + 512, members)


def put(
    layout: Layout, pools: list[bytearray], pool: int, offset: int, frames: list[int], count: int = 5
) -> int:
    """Write one record; its handle."""
    handle, head = layout.handle(pool, offset), layout.frames_at - 16
    if layout.frames_at == 24:
        head = 8
    record = struct.pack("<IIII", 0xABCD, len(frames), handle, count) + struct.pack(
        f"<{len(frames)}Q", *frames
    )
    pools[pool][offset + head : offset + head + len(record)] = record
    return handle


def depot(layout: Layout, pools: list[bytearray]) -> StackDepot:
    return StackDepot(Kernel(program(layout, [bytes(p) for p in pools]), cast(Any, {}), cast(Any, None)))


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS.keys())
def layout(request: pytest.FixtureRequest) -> Layout:
    return cast(Layout, request.param)


@pytest.fixture(autouse=True)
def flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """No direct map: all addresses are virtual."""
    monkeypatch.setattr(Kernel, "read", lambda self, address, size: self.prog.read(address, size))


def test_every_layout(layout: Layout) -> None:
    pools = [bytearray(POOL_SIZE) for _ in POOLS]
    frames = {
        put(layout, pools, 0, 0x40, [0xFFFFFFFF81000000 + i for i in range(16)]): 16,
        put(layout, pools, 1, 0, [0xFFFFFFFF82000000]): 1,
        # The last record of a pool ends with it.
        put(layout, pools, 1, POOL_SIZE - 64, [1, 2, 3]): 3,
    }
    handles = np.array(list(frames) * 2 + [0], np.uint32)
    stacks = depot(layout, pools).stacks(handles)
    assert stacks.handle.tolist() == sorted(frames) and stacks.ok.all()
    assert stacks.depth.tolist() == [frames[handle] for handle in sorted(frames)]
    by_handle = {
        h: stacks.frames[a:b].tolist()
        for h, a, b in zip(stacks.handle.tolist(), stacks.start, stacks.start[1:], strict=False)
    }
    assert by_handle[layout.handle(0, 0x40)] == [0xFFFFFFFF81000000 + i for i in range(16)]
    assert by_handle[layout.handle(1, POOL_SIZE - 64)] == [1, 2, 3]
    assert (stacks.pages == (4 if layout.frames_at == 32 else -1)).all()


def test_bad_handles_are_told_apart_from_good_ones(layout: Layout) -> None:
    pools = [bytearray(POOL_SIZE) for _ in POOLS]
    good = put(layout, pools, 0, 0x40, [7])
    too_long = put(layout, pools, 0, 0x400, [0] * 65)
    over_the_end = put(layout, pools, 1, POOL_SIZE - 64, [1])
    struct.pack_into("<I", pools[1], POOL_SIZE - 64 + layout.frames_at - 12, 60)
    if layout.frames_at == 24:
        struct.pack_into("<I", pools[1], POOL_SIZE - 64 + 12, 60)
    bad = [too_long, over_the_end, layout.handle(0, 0x80), layout.handle(9, 0x40), 0xFFFFFFFF]
    stacks = depot(layout, pools).stacks(np.array([good, *bad], np.uint32))
    assert stacks.handle[stacks.ok].tolist() == [good]
    assert stacks.frames.tolist() == [7]


def test_bits_of_the_user_do_not_matter() -> None:
    layout, pools = LAYOUTS["6.12"], [bytearray(POOL_SIZE) for _ in POOLS]
    handle = put(layout, pools, 0, 0x40, [7]) | 3 << 27
    assert depot(layout, pools).stacks(np.array([handle], np.uint32)).ok.all()


def test_a_depot_without_its_variables_is_an_error_of_one_line() -> None:
    layout = LAYOUTS["6.12"]
    prog = program(Layout(layout.fields, 32, "elsewhere", plus=1), [bytes(POOL_SIZE)] * 2)
    with pytest.raises(LayoutError, match="stack depot"):
        StackDepot(Kernel(prog, cast(Any, {}), cast(Any, None)))
