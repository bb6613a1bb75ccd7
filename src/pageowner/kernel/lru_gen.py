# SPDX-License-Identifier: LGPL-2.1-or-later
"""The multi-gen LRU: which generation a page is in, and whether the kernel counts that as active (6.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.memcg import Memcgs
from pageowner.kernel.page_flags import read_page_flags
from pageowner.kernel.target import Kernel
from pageowner.kernel.zone import nodes

U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
_PER_NODE = "struct mem_cgroup_per_node"
_MOST_LRUVECS = 1 << 22


class LruGen:
    """Active or not, as ``/proc/meminfo`` has it (``lru_gen_is_active()`` in include/linux/mm_inline.h).

    :raises LookupError: on kernels without CONFIG_LRU_GEN.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        vector = kernel.offset("struct lruvec", "lrugen")
        # 391655fe08d1 ("mm: multi-gen LRU: rename lru_gen_struct to lru_gen_folio"), 6.3
        names = ("struct lru_gen_folio", "struct lru_gen_struct")
        name = next((name for name in names if kernel.has_member(name, "max_seq")), names[-1])
        self._max_seq = vector + kernel.offset(name, "max_seq")
        self._generations = int(kernel.prog.type(name).member("timestamps").type.length or 0)
        if not self._generations:
            raise LookupError(f"{name} has no generations")
        flags = read_page_flags(kernel)
        self._flags = flags
        # LRU_GEN_WIDTH: 0 is "in no generation"; right below the other fields of page->flags.
        self._width = self._generations.bit_length()
        self._shift = min((field.shift for field in flags.fields), default=64) - self._width
        self._nodes = {node: int(pgdat) for node, pgdat in nodes(kernel)}
        self._of_node = kernel.offset("struct pglist_data", "__lruvec")
        try:
            self._memcgs: Memcgs | None = Memcgs(kernel)
            self._root = int(kernel.object("root_mem_cgroup"))  # 0 with cgroup_disable=memory
            self._lruvec = kernel.offset(_PER_NODE, "lruvec")
            self._nodeinfo = kernel.offset("struct mem_cgroup", "nodeinfo")
        except LookupError:
            self._memcgs, self._root, self._lruvec, self._nodeinfo = None, 0, 0, 0

    def active(self, flags: U64, memcg: npt.NDArray[Any], active: Bools, listed: Bools) -> Bools:
        """bool per page: on an active list.

        :param flags: ``page->flags``; *memcg*: ``memcg_data``; *active*: PG_active, which holds for pages
            that are in no generation; *listed*: pages that are on an LRU list at all.
        """
        field = (flags >> np.uint64(self._shift)) & np.uint64((1 << self._width) - 1)
        rows = np.flatnonzero(listed & (field != 0))
        out = active.copy()
        if not len(rows):
            return out
        seq, known = self._youngest(self._groups(memcg[rows]), self._flags.node(flags[rows]))
        behind = (seq - (field[rows] - np.uint64(1))) % np.uint64(self._generations)
        out[rows] = known & (behind <= 1)
        return out

    def _groups(self, words: npt.NDArray[Any]) -> U64:
        """Address of the memory cgroup of each page; the root's where it is charged to none."""
        unique, inverse = np.unique(np.asarray(words, np.uint64), return_inverse=True)
        memcg = np.full(len(unique), self._root, np.uint64)
        if self._memcgs is None or not self._root:
            return memcg[inverse]
        charges = self._memcgs.charges(unique)
        memcg[np.searchsorted(unique, charges.word)] = charges.memcg
        return memcg[inverse]

    def _youngest(self, memcg: U64, node: U64) -> tuple[U64, Bools]:
        """``max_seq`` of each page's lruvec, and whether it could be read."""
        pairs, inverse = np.unique(np.stack([memcg, node]), axis=1, return_inverse=True)
        if pairs.shape[1] > _MOST_LRUVECS:
            return np.zeros(len(memcg), np.uint64), np.zeros(len(memcg), np.bool_)
        slots = pairs[0] + np.uint64(self._nodeinfo) + pairs[1] * np.uint64(8)
        infos, ok = self._kernel.gather(slots, np.dtype("<u8"))
        vectors = infos + np.uint64(self._lruvec)
        if not self._root:
            vectors = np.array([self._nodes.get(n, 0) + self._of_node for n in pairs[1].tolist()], np.uint64)
            ok = np.ones(len(vectors), np.bool_)
        seq, ok2 = self._kernel.gather(vectors + np.uint64(self._max_seq), np.dtype("<u8"))
        inverse = inverse.reshape(-1)
        return np.asarray(seq, np.uint64)[inverse], (ok & ok2)[inverse]
