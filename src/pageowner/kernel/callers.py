# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who asked for a page, by its stack: the first frame that is not an allocator's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pageowner.errors import LayoutError
from pageowner.kernel.key_index import KeyIndex
from pageowner.kernel.runs import distinct
from pageowner.kernel.stackdepot import StackDepot, special_handles
from pageowner.kernel.target import Kernel

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

WRAPPERS: tuple[tuple[str, str], ...] = (
    # the page allocator (mm/page_alloc.c, mm/mempolicy.c, mm/page_owner.c)
    ("page_owner", r"(__)?set_page_owner|(__)?save_stack"),
    ("page allocator", r"post_alloc_hook|prep_new_page|get_page_from_freelist|rmqueue\w*"),
    (
        "page allocator",
        r"_*alloc_(frozen_)?pages?(_\w+)?|try_alloc_pages\w*|split_free_pages|\w*alloc_pages_bulk\w*",
    ),
    ("page allocator", r"_*get_free_pages?\w*|get_zeroed_page\w*|make_alloc_exact\w*"),
    ("folios", r"_*folio_alloc(_noprof|_mpol_noprof|_node\w*)?|vma_alloc_folio\w*|folio_prealloc"),
    ("page fragments", r"_*page_frag_\w+|skb_page_frag_refill|netdev_alloc_frag\w*|napi_alloc_frag\w*"),
    ("contiguous", r"split_map_pages|split_free_frozen_pages|isolate_freepages\w*|split_page\w*"),
    (
        "contiguous",
        r"alloc_contig_\w+|_*cma_alloc(_noprof|_folio|_frozen\w*)?|cma_range_alloc|dma_alloc_contiguous",
    ),
    # what is built on it
    ("kmalloc", r"_*kmalloc\w*|_*kzalloc\w*|_*kcalloc\w*|_*krealloc\w*|kmem_cache_alloc\w*|_*kmemdup\w*"),
    ("kmalloc", r"_*kv(m|z|re)alloc\w*|vmemdup_user|memdup_user\w*"),
    ("slab", r"new_slab|allocate_slab|alloc_slab_page|_*slab_alloc\w*|refill_objects|_*cache_alloc\w*"),
    ("vmalloc", r"_*v(m|z)alloc\w*|vm_area_alloc_pages|_*vmalloc_\w+"),
    ("DMA", r"_*dma_(direct_)?alloc\w*|_*dma_alloc\w*|dma_common_\w+|dmam_alloc\w*"),
    ("mempool", r"mempool_alloc\w*|mempool_kmalloc|mempool_init\w*|mempool_create\w*"),
    ("boot", r"alloc_large_system_hash|_*devres_alloc\w*|devm_k\w*alloc|devm_get_free_pages|memblock_\w+"),
)
"""Functions whose callers are the ones who want memory: (of what, pattern for the whole name).

Suffixes that the compiler adds (``.constprop.0``, ``.isra.0``, ``.part.0``, ``.cold``) are ignored.
"""

# kmalloc_order() until 6.0, then ___kmalloc_large_node() with several fronts.
LARGE_KMALLOC = r"_*kmalloc_large\w*|kmalloc_order\w*"

_WRAPPER = re.compile("|".join(f"(?:{pattern})" for _, pattern in WRAPPERS))
_LARGE = re.compile(LARGE_KMALLOC)


def is_wrapper(function: str) -> bool:
    """Whether *function* (without offset) only allocates for others."""
    return _WRAPPER.fullmatch(function.partition(".")[0]) is not None


def is_large_kmalloc(function: str) -> bool:
    """Whether *function* is the part of kmalloc() that takes whole pages."""
    return _LARGE.fullmatch(function.partition(".")[0]) is not None


@dataclass
class Callers:
    """The stacks of handles, judged; each handle and each frame once.

    ``early``, ``special``: handles that stand for no call stack (see :func:`special_handles`).
    """

    kernel: Kernel
    early: U32
    special: U32
    _judged: dict[int, tuple[bool, bool]] = field(default_factory=dict)
    _index: KeyIndex = field(default_factory=KeyIndex)
    _caller: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    _large: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    _last: tuple[U32, tuple[U64, Bools]] | None = None

    def of(self, handles: U32) -> tuple[U64, Bools]:
        """For each handle the caller's address, 0 where its stack says nothing, and whether the stack goes
        through large kmalloc. Several layers ask about the same array one after the other: it is kept."""
        if self._last is None or self._last[0] is not handles:
            self._last = handles, self._of(handles)
        return self._last[1]

    def _of(self, handles: U32) -> tuple[U64, Bools]:
        unique, inverse = distinct(np.asarray(handles, np.uint32))
        new = unique[self._index.find(unique.astype(np.uint64)) < 0]
        if len(new):
            self._learn(new)
        at = self._index.find(unique.astype(np.uint64))[inverse]
        return self._caller[at], self._large[at]

    def _learn(self, unique: U32) -> None:
        caller, large = np.zeros(len(unique), np.uint64), np.zeros(len(unique), np.bool_)
        plain = np.flatnonzero((unique != 0) & ~np.isin(unique, self.early) & ~np.isin(unique, self.special))
        if len(plain):
            caller[plain], large[plain] = self._judge(unique[plain])
        self._index.add(unique.astype(np.uint64))
        self._caller, self._large = np.append(self._caller, caller), np.append(self._large, large)

    def _judge(self, handles: U32) -> tuple[U64, Bools]:
        try:
            stacks = self.kernel.memo(StackDepot).stacks(handles)
        except LayoutError:
            return np.zeros(len(handles), np.uint64), np.zeros(len(handles), np.bool_)
        wrapper, large = self._frames(stacks.frames)
        caller, depth = np.zeros(len(handles), np.uint64), stacks.depth
        owner = np.repeat(np.arange(len(handles)), depth)
        # First frame of each stack that is no wrapper; if all are, the outermost.
        other = np.flatnonzero(~wrapper)
        which, first = np.unique(owner[other], return_index=True)
        stop = stacks.start[1:] - 1
        stop[which] = other[first]
        has = depth > 0
        caller[has] = stacks.frames[stop[has]]
        leading = (
            np.arange(len(owner))
            < stop[owner] + (np.isin(np.arange(len(handles)), which, invert=True))[owner]
        )
        through = np.bincount(owner, weights=large & leading, minlength=len(handles)) > 0
        return caller, through

    def _frames(self, frames: U64) -> tuple[Bools, Bools]:
        unique, inverse = np.unique(frames, return_inverse=True)
        new = [address for address in unique.tolist() if address not in self._judged]
        for address, text in zip(new, self.kernel.symbols.symbolize(np.array(new, np.uint64)), strict=True):
            name = text.partition("+")[0]
            self._judged[address] = is_wrapper(name), is_large_kmalloc(name)
        judged = np.array([self._judged[a] for a in unique.tolist()], np.bool_).reshape(-1, 2)
        return judged[inverse, 0], judged[inverse, 1]


def read_callers(kernel: Kernel) -> Callers:
    """The judge for *kernel*."""
    special = special_handles(kernel)
    early = [handle for handle, name in special.items() if name == "early_handle"]
    return Callers(kernel, np.array(early, np.uint32), np.array(sorted(set(special) - set(early)), np.uint32))


def call_site(text: str) -> str:
    """``name+0xoffset [module]`` of a ``%pS`` text: without the size."""
    place, _, module = text.partition(" ")
    return place.partition("/")[0] + (f" {module}" if module else "")
