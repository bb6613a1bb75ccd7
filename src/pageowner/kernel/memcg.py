# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory cgroups: whom a page is charged to (include/linux/memcontrol.h), and their names and paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

# MEMCG_DATA_OBJCGS until 6.9, MEMCG_DATA_OBJEXTS since: a vector of per-object data of a slab.
SLAB_VECTOR = 1
KMEM = 2  # MEMCG_DATA_KMEM: the rest is an obj_cgroup pointer
CSS_ONLINE = 2
ROOT_NAME = "/"
_DEEPEST = 64
_NAME_BYTES = 79  # print_page_owner_memcg() has room for 80


@dataclass(frozen=True)
class Charges:
    """What unique memcg_data words say.

    ``word`` uint64[m], sorted, without 0; ``memcg`` uint64[m]: address of the mem_cgroup, 0 for slab vectors
    and for words that lead to none; ``slab`` and ``kmem`` bool[m]: the low bits.
    """

    word: U64
    memcg: U64
    slab: Bools
    kmem: Bools

    @property
    def lost(self) -> int:
        """Words that lead to no memory cgroup though they should: torn or corrupt."""
        return int((~self.slab & (self.memcg == 0)).sum())


@dataclass(frozen=True)
class Memcg:
    """One memory cgroup. ``id``: inode number of its directory; ``path`` as in /proc/PID/cgroup."""

    address: int
    id: int
    name: str
    path: str
    online: bool


class Memcgs:
    """The memory cgroups of *kernel*.

    :raises LookupError: when it is built without CONFIG_MEMCG.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._subsystem = kernel.symbols.lookup("memory_cgrp_subsys")
        css = kernel.offset("struct mem_cgroup", "css")
        columns: dict[str, tuple[str, ...] | str] = {"ss": "ss", "cgroup": "cgroup", "flags": "flags"}
        self._css = _shifted(kernel.dtype("struct cgroup_subsys_state", columns), css)
        self._objcg = _pointer(kernel.offset("struct obj_cgroup", "memcg")) if _has_objcg(kernel) else None
        self._kn_at = kernel.offset("struct cgroup", "kn")
        # parent became __parent when it came under RCU (633488947ef6, 6.15).
        parent = ("__parent", "parent")
        self._kernfs = kernel.dtype("struct kernfs_node", {"parent": parent, "name": "name", "id": "id"})
        # 6.10 gave slab vectors one flag more; what is above the flags is the pointer.
        flags = kernel.constant("__NR_OBJEXTS_FLAGS") or kernel.constant("__NR_MEMCG_DATA_FLAGS") or 4
        self._pointer_mask = ~(flags - 1) % (1 << 64)
        self._known: dict[int, Memcg] = {}

    def charges(self, words: npt.NDArray[Any]) -> Charges:
        """Whom each of *words* (any order, duplicates allowed) charges.

        Kernel memory is charged to an obj_cgroup. Other pages point to the mem_cgroup itself up to 7.0 and
        to an obj_cgroup since; a mem_cgroup is known by its ``css.ss``, so that nothing need be assumed.
        """
        unique = np.unique(np.asarray(words, np.uint64))
        unique = unique[unique != 0]
        slab = (unique & np.uint64(SLAB_VECTOR)) != 0
        kmem = ((unique & np.uint64(KMEM)) != 0) & ~slab
        pointer = unique & np.uint64(self._pointer_mask)
        direct = ~slab & ~kmem & self._is_memcg(pointer)
        memcg = np.where(direct, pointer, 0).astype(np.uint64)
        via = ~slab & ~direct
        if self._objcg is not None and via.any():
            rows, ok = self.kernel.gather(pointer[via], self._objcg)
            target = np.where(ok, rows["pointer"], 0).astype(np.uint64)
            memcg[via] = np.where(self._is_memcg(target), target, 0)
        return Charges(unique, memcg, slab, kmem)

    def get(self, addresses: npt.NDArray[Any]) -> dict[int, Memcg]:
        """The memory cgroups at *addresses*; those that cannot be read are left out."""
        wanted = {int(a) for a in np.unique(np.asarray(addresses, np.uint64)) if a}
        new = np.array(sorted(wanted - self._known.keys()), np.uint64)
        if len(new):
            self._read(new)
        return {address: self._known[address] for address in wanted if address in self._known}

    def lines(self, charges: Charges) -> list[str]:
        """The line that ``print_page_owner_memcg()`` prints for each word, without newline; empty for none.

        As 6.1 to 6.12.113 and 7.1+ print it. (6.12.114 takes every word for an obj_cgroup, which those of
        ordinary pages there are not, and so prints nothing for them, or worse.)
        """
        known = self.get(charges.memcg)
        return [
            "Slab cache page" if slab else _line(known.get(memcg), kmem)
            for memcg, slab, kmem in zip(
                charges.memcg.tolist(), charges.slab.tolist(), charges.kmem.tolist(), strict=True
            )
        ]

    def _is_memcg(self, pointers: U64) -> Bools:
        rows, ok = self.kernel.gather(pointers, self._css)
        return np.asarray(ok & (rows["ss"] == np.uint64(self._subsystem)))

    def _read(self, addresses: U64) -> None:
        css, ok = self.kernel.gather(addresses, self._css)
        kn, ok2 = self.kernel.gather(css["cgroup"] + np.uint64(self._kn_at), _pointer(0))
        good = ok & ok2
        chains = self._chains(kn["pointer"][good])
        for address, flags, (number, names) in zip(
            addresses[good].tolist(), css["flags"][good].tolist(), chains, strict=True
        ):
            name = names[0] if names else ROOT_NAME
            path = "/" + "/".join(reversed(names))
            self._known[address] = Memcg(address, number, name, path, bool(flags & CSS_ONLINE))

    def _chains(self, nodes: U64) -> list[tuple[int, list[str]]]:
        """For each kernfs *node* its id and the names from it up to, but without, the root."""
        found: list[tuple[int, list[str]]] = []
        names: list[list[str]] = [[] for _ in range(len(nodes))]
        at, current = np.arange(len(nodes)), nodes
        for level in range(_DEEPEST):
            rows, ok = self.kernel.gather(current, self._kernfs)
            if level == 0:
                found = [(int(i), n) for i, n in zip(rows["id"], names, strict=True)]
            below = ok & (rows["parent"] != 0)
            for index, name in zip(at[below], self.kernel.read_strings(rows["name"][below]), strict=True):
                names[index].append(name or "?")
            at, current = at[below], rows["parent"][below]
            if not len(at):
                break
        return found


def _line(memcg: Memcg | None, kmem: bool) -> str:
    if memcg is None:
        return ""
    name = memcg.name.encode("utf-8", "surrogateescape")[:_NAME_BYTES].decode("utf-8", "surrogateescape")
    return f"Charged {'(via objcg) ' if kmem else ''}to {'' if memcg.online else 'offline '}memcg {name}"


def _has_objcg(kernel: Kernel) -> bool:
    return kernel.has_member("struct obj_cgroup", "memcg")


def _pointer(offset: int) -> np.dtype[Any]:
    spec: dict[str, Any] = {
        "names": ["pointer"],
        "formats": ["<u8"],
        "offsets": [offset],
        "itemsize": offset + 8,
    }
    return np.dtype(spec)  # type: ignore[call-overload,no-any-return]


def _shifted(dtype: np.dtype[Any], by: int) -> np.dtype[Any]:
    """*dtype* as it lies *by* bytes into a larger structure."""
    fields: Mapping[str, Any] = dtype.fields or {}
    spec: dict[str, Any] = {
        "names": list(fields),
        "formats": [field[0] for field in fields.values()],
        "offsets": [field[1] + by for field in fields.values()],
        "itemsize": dtype.itemsize + by,
    }
    return np.dtype(spec)  # type: ignore[call-overload,no-any-return]
