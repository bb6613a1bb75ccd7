# SPDX-License-Identifier: LGPL-2.1-or-later
"""page_owner's records the plain way: a drgn script that looks at one page after the other.

    python benchmarks/drgn_script.py CORE VMLINUX FIRST_PFN RECORDS

Prints each record with its stack; the last line on standard error says how long RECORDS of them took, without
opening the core and loading VMLINUX. This is the slow path that `report` is measured and checked against.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import drgn
from drgn import Object, Program
from drgn.helpers.linux.mm import pfn_to_page

SECTION_SHIFT = 27 - 12
OWNER, ALLOCATED = 1, 2


def entry(prog: Program, pfn: int) -> Object | None:
    """``lookup_page_ext()``."""
    number = pfn >> SECTION_SHIFT
    size = drgn.sizeof(prog.type("struct mem_section"))
    root = prog["mem_section"][number // (4096 // size)]
    if not root:
        return None
    section = root[number % (4096 // size)]
    if not section.page_ext or section.page_ext.value_() & 1:
        return None
    address = section.page_ext.value_() + prog["page_ext_size"].value_() * pfn
    return Object(prog, "struct page_ext *", value=address % (1 << 64))


def stack(prog: Program, handle: int) -> Iterator[str]:
    """``stack_depot_fetch()`` and ``%pS``."""
    parts = Object(prog, "union handle_parts", value={"handle": handle})
    try:
        pools, index = prog["stack_pools"], parts.pool_index_plus_1.value_() - 1
    except AttributeError:
        pools, index = prog["stack_slabs"], parts.slabindex.value_()
    except LookupError:
        pools, index = prog["stack_slabs"], parts.slabindex.value_()
    record = drgn.cast("struct stack_record *", pools[index] + (parts.offset.value_() << 4))
    for number in range(record.size.value_()):
        address = record.entries[number].value_()
        symbol = prog.symbol(address)
        yield f" {symbol.name}+0x{address - symbol.address:x}/0x{symbol.size:x}"


def records(prog: Program, first: int) -> Iterator[str]:
    """Every record from PFN *first* on, as text."""
    offset = prog["page_owner_ops"].offset.value_()
    for pfn in range(first, prog["max_pfn"].value_()):
        ext = entry(prog, pfn)
        if ext is None or ext.flags.value_() & (OWNER | ALLOCATED) != OWNER | ALLOCATED:
            continue
        owner = Object(prog, "struct page_owner *", value=ext.value_() + offset)
        if pfn & (1 << owner.order.value_()) - 1 or not owner.handle:
            continue
        comm = owner.comm.string_().decode()
        text = f"Page allocated via order {owner.order.value_()}, mask {owner.gfp_mask.value_():#x}, "
        text += (
            f"pid {owner.pid.value_()}, tgid {owner.tgid.value_()} ({comm}), ts {owner.ts_nsec.value_()} ns\n"
        )
        text += f"PFN 0x{pfn:x} Flags {pfn_to_page(prog, pfn).flags.value_():#x}\n"
        yield text + "\n".join(stack(prog, owner.handle.value_())) + "\n"


def main() -> None:
    core, vmlinux, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3], 0), int(sys.argv[4])
    prog = drgn.Program()
    prog.set_core_dump(core)
    prog.load_debug_info([vmlinux])
    texts = records(prog, first)
    print(next(texts))
    began = time.process_time()
    for _ in range(count):
        print(next(texts))
    print(f"{time.process_time() - began:.3f}", file=sys.stderr)


if __name__ == "__main__":
    main()
