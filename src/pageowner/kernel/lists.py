# SPDX-License-Identifier: LGPL-2.1-or-later
"""Walk linked lists of the target, many at once, none for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import PAGE_SHIFT, PAGE_SIZE, Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

POINTER = np.dtype("<u8")
LIMIT = 1 << 22  # pid_max is at most this; no list here is longer
# Up to this many lists are followed one after the other: a gather of few costs more than their reads.
FEW = 32
_PAGES_KEPT = 256


@dataclass(frozen=True)
class Walk:
    """Elements of lists: ``node`` uint64[n], and ``owner`` int64[n], the index of the list, ascending;
    ``broken``: how many lists ended in a cycle, an unreadable element or at the limit."""

    owner: I64
    node: U64
    broken: int


def walk_lists(kernel: Kernel, heads: U64, limit: int = LIMIT) -> Walk:
    """The nodes of the circular lists (``struct list_head``) with *heads*, the heads themselves left out.

    :param limit: elements of all lists together.
    """
    first, _ = kernel.gather(heads, POINTER)
    return _walk(kernel, first, heads, 0, limit)


def walk_chains(kernel: Kernel, first: U64, next_offset: int, limit: int = LIMIT) -> Walk:
    """The elements of NULL-terminated chains that start with *first*: next pointer at *next_offset*."""
    return _walk(kernel, first, np.zeros_like(first), next_offset, limit)


def _walk(kernel: Kernel, first: U64, ends: U64, offset: int, limit: int) -> Walk:
    owner = np.arange(len(first))
    node, mark = first.copy(), np.zeros_like(first)
    nodes, owners, broken, total, step = [], [], 0, 0, 0
    while True:
        # Zero in a circular list is a torn or unread pointer; in a chain it is the end.
        lost = (node == 0) & (ends[owner] != 0)
        # Brent's cycle detection: a node met again since the last power of two is on a loop.
        lost |= node == mark
        broken += int(np.count_nonzero(lost & (node != ends[owner])))
        live = np.flatnonzero((node != ends[owner]) & ~lost)
        owner, node, mark = owner[live], node[live], mark[live]
        if len(node) <= FEW or total + len(node) > limit:
            break
        total += len(node)
        nodes.append(node)
        owners.append(owner)
        if step & (step - 1) == 0:
            mark = node
        step += 1
        node, _ = kernel.gather(node + np.uint64(offset), POINTER)
    pointer = _pointers(kernel)
    for which, start in zip(owner.tolist(), node.tolist(), strict=True):
        found, ended = _follow(pointer, start, int(ends[which]), offset, limit - total)
        nodes.append(np.array(found, np.uint64))
        owners.append(np.full(len(found), which))
        total, broken = total + len(found), broken + (not ended)
    flat = np.concatenate([np.empty(0, np.int64), *owners])
    order = np.argsort(flat, kind="stable")
    flat_nodes = np.concatenate([np.empty(0, np.uint64), *nodes])
    return _distinct(flat[order], flat_nodes[order], broken)


def _follow(
    pointer: Callable[[int], int], node: int, end: int, offset: int, room: int
) -> tuple[list[int], bool]:
    """The nodes from *node* on, *room* at most, and whether they led to *end*."""
    met: dict[int, None] = {}
    while node != end:
        if not node or node in met or len(met) >= room:
            return list(met), False
        met[node] = None
        node = pointer((node + offset) % (1 << 64))
    return list(met), True


def _pointers(kernel: Kernel) -> Callable[[int], int]:
    """Reads the pointer at an address (0: unreadable), and keeps its page: others are mostly near.

    Not on a live kernel, whose lists change meanwhile.
    """

    @lru_cache(maxsize=_PAGES_KEPT)
    def page(number: int) -> bytes:
        try:
            return kernel.read(number << PAGE_SHIFT, PAGE_SIZE)
        except (drgn.FaultError, OverflowError, ValueError):
            return b""

    def pointer(address: int) -> int:
        at = address % PAGE_SIZE
        data = b"" if kernel.live or at > PAGE_SIZE - 8 else page(address >> PAGE_SHIFT)
        return int.from_bytes(data[at : at + 8], "little") if data else _pointer(kernel, address)

    return pointer


def _pointer(kernel: Kernel, address: int) -> int:
    try:
        return int.from_bytes(kernel.read(address, 8), "little")
    except (drgn.FaultError, OverflowError, ValueError):
        return 0


def _distinct(owner: I64, node: U64, broken: int) -> Walk:
    """A loop is noticed some way round: its nodes are there more than once."""
    if not broken:
        return Walk(owner, node, 0)
    pairs = np.rec.fromarrays([owner, node])
    _, first = np.unique(pairs, return_index=True)
    first.sort()
    return Walk(owner[first], node[first], broken)


def list_entries(kernel: Kernel, head: int, limit: int = LIMIT) -> list[int]:
    """Addresses of the nodes on the one circular list at *head*, in order, the head itself left out."""
    return [int(node) for node in walk_lists(kernel, np.array([head], np.uint64), limit).node.tolist()]


def list_structs(kernel: Kernel, head: int, offset: int, limit: int = LIMIT) -> list[int]:
    """Addresses of the structures on the list at *head*, whose nodes are at *offset* (``container_of()``).

    They wrap as the kernel's would: what a torn node leads to is an address, if not a readable one.
    """
    return [(node - offset) % (1 << 64) for node in list_entries(kernel, head, limit)]


def hlist_entries(kernel: Kernel, head: int, limit: int = LIMIT) -> list[int]:
    """Addresses of the nodes on the list whose ``struct hlist_head`` is at *head*, in order."""
    first, _ = kernel.gather(np.array([head], np.uint64), POINTER)
    return [int(node) for node in walk_chains(kernel, first, 0, limit).node.tolist()]
