# SPDX-License-Identifier: LGPL-2.1-or-later
"""BPF programs and maps, and the memory outside the slab that they have (kernel/bpf/)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import drgn
import numpy as np
import numpy.typing as npt
from drgn.helpers.linux.idr import idr_for_each

from pageowner.escape import escape
from pageowner.kernel.lists import list_entries
from pageowner.kernel.target import Kernel

I64 = npt.NDArray[np.int64]

_MOST = 100_000
_PACK_SIZE = 2 << 20  # BPF_PROG_PACK_SIZE on x86-64: PMD_SIZE per node; what is not mapped is no claim
_MOST_PAGES = 1 << 20


@dataclass(frozen=True)
class BpfObject:
    """``kind`` prog, map, prog_pack or jit; ``places``: addresses in vmalloc space whose whole areas are its;
    ``ranges``: (start, bytes) of what it has page by page; ``pages``: struct page addresses."""

    address: int
    kind: str
    id: int
    name: str
    places: tuple[int, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()
    pages: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))


def read_bpf(kernel: Kernel) -> list[BpfObject]:
    """All packs of programs, programs and maps of the kernel, packs first; torn objects are left out."""
    out: list[BpfObject] = list(_packs(kernel))
    for name, type_name, read in (
        ("prog_idr", "struct bpf_prog *", _prog),
        ("map_idr", "struct bpf_map *", _map),
    ):
        for pointer in _idr(kernel, name):
            try:
                out.append(read(kernel, drgn.Object(kernel.prog, type_name, pointer)))
            except (drgn.FaultError, LookupError, AttributeError):
                continue
    return out


def _idr(kernel: Kernel, name: str) -> list[int]:
    try:
        entries = list(islice(idr_for_each(kernel.object(name).address_of_()), _MOST))
    except (LookupError, drgn.FaultError):
        return []
    return [int(pointer) for _, pointer in entries]


def _packs(kernel: Kernel) -> Iterator[BpfObject]:
    """``pack_list``: areas of 2 MiB that many programs share (57631054fae6, 5.18)."""
    try:
        head = int(kernel.object("pack_list").address_of_())
        link = kernel.offset("struct bpf_prog_pack", "list")
        start = kernel.offset("struct bpf_prog_pack", "ptr")
    except LookupError:
        return
    for node in list_entries(kernel, head):
        word, ok = kernel.gather(np.array([node - link + start], np.uint64), np.dtype("<u8"))
        if ok[0]:
            yield BpfObject(
                node - link, "prog_pack", 0, "shared", (int(word[0]),), ((int(word[0]), _PACK_SIZE),)
            )


def _prog(kernel: Kernel, prog: drgn.Object) -> BpfObject:
    aux = prog.aux
    # The struct with the instructions, and the machine code if it is not in a pack.
    places = (int(prog), int(prog.bpf_func))
    return BpfObject(int(prog), "prog", int(aux.id), escape(aux.name.string_()), places)


def _map(kernel: Kernel, map_: drgn.Object) -> BpfObject:
    places: tuple[int, ...] = (int(map_),)
    ranges: tuple[tuple[int, int], ...] = ()
    pages = np.empty(0, np.uint64)
    type_ = _container(kernel, int(map_.ops))
    if type_ is not None:
        inner = drgn.Object(kernel.prog, f"{type_} *", int(map_))
        if type_ == "struct bpf_htab":
            places += (int(inner.buckets), int(inner.elems))
        elif type_ == "struct bpf_ringbuf_map":
            places += (int(inner.rb),)
            pages = _ring_pages(kernel, inner.rb)
        elif type_ == "struct bpf_arena":
            area = inner.kern_vm
            ranges = ((int(area.addr), int(area.size)),)
    return BpfObject(int(map_), "map", int(map_.id), escape(map_.name.string_()), places, ranges, pages)


_CONTAINERS = {
    "struct bpf_htab": ("htab_map_ops", "htab_lru_map_ops", "htab_percpu_map_ops", "htab_lru_percpu_map_ops"),
    "struct bpf_ringbuf_map": ("ringbuf_map_ops", "user_ringbuf_map_ops"),
    "struct bpf_arena": ("arena_map_ops",),
}


def _container(kernel: Kernel, ops: int) -> str | None:
    """The struct that the map is embedded in, by its operations."""
    name = kernel.symbols.name_at(ops)
    return next((type_ for type_, names in _CONTAINERS.items() if name in names), None)


def _ring_pages(kernel: Kernel, rb: drgn.Object) -> npt.NDArray[np.uint64]:
    """The pages of a ring buffer, which is mapped twice in a row."""
    count = int(rb.nr_pages)
    if not 0 < count <= _MOST_PAGES:
        return np.empty(0, np.uint64)
    return np.frombuffer(kernel.read(int(rb.pages), count * 8), np.uint64)
