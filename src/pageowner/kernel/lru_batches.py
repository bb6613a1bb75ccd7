# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folios in the per-CPU batches of the LRU lists, each of which holds a reference (mm/swap.c, mm/mlock.c)."""

from __future__ import annotations

from collections.abc import Iterator

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.percpu import cpu_offsets
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_VARIABLES = (
    ("cpu_fbatches", "struct cpu_fbatches"),
    ("mlock_fbatch", "struct mlock_fbatch"),
    ("lru_rotate", "struct lru_rotate"),  # until 6.11, then one of cpu_fbatches
    ("mlock_pvec", "struct mlock_pvec"),  # 5.18 to 6.2
    ("lru_pvecs", "struct lru_pvecs"),  # until 5.17
)
_BATCHES = {"folio_batch": "folios", "pagevec": "pages"}
_LOW_BITS = np.uint64(3)  # mlock.c keeps flags there


def read_lru_batches(kernel: Kernel) -> I64:
    """PFN of the head of each folio in a batch, sorted; once per batch that it is in.

    Empty where the source lacks the batches.
    """
    try:
        offsets, sections = cpu_offsets(kernel), kernel.memo(read_sections)
        pointers = [_pointers(kernel, offsets, *variable) for variable in _VARIABLES]
    except (LookupError, drgn.FaultError):
        return np.empty(0, np.int64)
    pfns = sections.page_pfn(np.concatenate(pointers) & ~_LOW_BITS)
    return np.sort(pfns[pfns >= 0])


def _pointers(kernel: Kernel, offsets: U64, name: str, type_name: str) -> U64:
    """What the batches in one per-CPU variable hold; nothing where this kernel has no such variable."""
    base = kernel.address(name)
    if base is None:
        return np.empty(0, np.uint64)
    found = [np.empty(0, np.uint64)]
    for at, dtype in _batches(kernel, type_name):
        rows, ok = kernel.gather(offsets + np.uint64(base + at), dtype)
        slots = rows["folios"]
        full = np.arange(slots.shape[1]) < np.where(ok, rows["nr"], 0)[:, None]
        found.append(slots[full])
    return np.concatenate(found)


def _batches(kernel: Kernel, type_name: str) -> Iterator[tuple[int, np.dtype[np.void]]]:
    """Offset and layout of each batch in a structure of them."""
    for member in kernel.type(type_name).members or ():
        tag = member.type.tag if member.type.kind == drgn.TypeKind.STRUCT else None
        if tag not in _BATCHES:
            continue
        slots = kernel.type(f"struct {tag}").member(_BATCHES[tag])
        yield member.offset, np.dtype(
            {
                "names": ["nr", "folios"],
                "formats": ["u1", ("<u8", (int(slots.type.length or 0),))],
                "offsets": [kernel.offset(f"struct {tag}", "nr"), slots.offset],
                "itemsize": int(member.type.size or 0),
            }
        )
