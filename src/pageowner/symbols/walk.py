# SPDX-License-Identifier: LGPL-2.1-or-later
"""Walks over the kernel's linked lists that always end, whatever the memory holds."""

from __future__ import annotations

from collections.abc import Iterator

from drgn import FaultError, Object, offsetof


def walk_list(head: Object, type_name: str, member: str, limit: int, notes: list[str]) -> Iterator[Object]:
    """Entries of the ``struct list_head`` *head*, as pointers to *type_name*.

    Ends at the head, and also after *limit* entries, at an entry seen before and behind one that cannot be
    read (which the caller gets and has to find unreadable, too); each of these adds one line to *notes*.
    """
    prog = head.prog_
    pointer = prog.pointer_type(prog.type(type_name))
    offset = offsetof(pointer.type, member)
    end = int(head.address_of_())
    seen = {end}
    at = end
    while True:
        try:
            at = prog.read_u64(at)
        except FaultError:
            notes.append(f"a list of {type_name} leads to unreadable memory; {len(seen) - 1} entries read")
            return
        if at == end:
            return
        if at in seen:
            notes.append(f"a list of {type_name} runs in a circle; {len(seen) - 1} entries read")
            return
        if len(seen) > limit:
            notes.append(f"a list of {type_name} has more than {limit} entries; the others were not read")
            return
        seen.add(at)
        yield Object(prog, pointer, value=(at - offset) % (1 << 64))
