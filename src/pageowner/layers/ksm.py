# SPDX-License-Identifier: LGPL-2.1-or-later
"""KSM_PAGE: pages that ksmd merged (mm/ksm.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.lists import walk_chains
from pageowner.kernel.memmap import Heads
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.layers.base import Band, Bools, Layer, Needs, Selection, untyped

U64 = npt.NDArray[np.uint64]
KSM_BITS = 3


class Ksm(Layer):
    """The key is the stable node that the page's mapping leads to; its items tell whose pages were merged."""

    word = "KSM_PAGE"
    band = Band.MAPPING
    line = "KSM_PAGE users:{users} mapcount:{mapcount} refcount:{refcount} address 0x{start:x}{by_pid}"
    # mm_slot.h split the names off in 6.1: stable_node became ksm_stable_node.
    needs = Needs(members=("struct ksm_stable_node.kpfn|struct stable_node.kpfn",))

    def domain(self, heads: Heads) -> Bools:
        return np.asarray(untyped(heads) & (heads.mapping_bits == KSM_BITS))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, heads.mapping[rows] - np.uint64(KSM_BITS))

    def describe(self, keys: U64) -> pl.DataFrame:
        users = self._users(keys)
        return pl.DataFrame(
            {"users": [len(mms) for mms in users], "owner": [self._owner(mms) for mms in users]},
            schema={"users": pl.Int64, "owner": pl.String},
        )

    @property
    def _memory(self) -> ProcessMemory:
        return self.kernel.memo(read_process_memory)

    def _users(self, nodes: U64) -> list[list[int]]:
        """Addresses of the mms that share each node's page, those with the lowest pids first."""
        new = self.kernel.has_member("struct ksm_stable_node", "kpfn")
        node, item = ("struct ksm_stable_node", "struct ksm_rmap_item") if new else (
            "struct stable_node", "struct rmap_item",
        )  # fmt: skip
        rows, ok = self.kernel.gather(nodes, self.kernel.dtype(node, {"first": "hlist.first"}))
        chain = walk_chains(self.kernel, np.where(ok, rows["first"], 0), 0)
        items = chain.node - np.uint64(self.kernel.offset(item, "hlist"))
        rows, ok = self.kernel.gather(items, self.kernel.dtype(item, {"mm": "mm"}))
        rank = {int(address): n for n, address in enumerate(self._memory.mms.address.tolist())}
        found: list[set[int]] = [set() for _ in range(len(nodes))]
        for owner, mm in zip(chain.owner[ok].tolist(), rows["mm"][ok].tolist(), strict=True):
            found[owner].add(rank.get(mm, -1))
        return [sorted(mms - {-1}) for mms in found]

    def _owner(self, mms: list[int]) -> str:
        if not mms:
            return "not mapped"
        others = f" and {len(mms) - 1} more" if len(mms) > 1 else ""
        return self._memory.name(mms[0]) + others
