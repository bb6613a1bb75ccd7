# SPDX-License-Identifier: LGPL-2.1-or-later
"""Linked lists of the kernel, walked with a limit: a torn or corrupt list ends the walk, never the program."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import drgn

from pageowner.kernel.target import Kernel

LONGEST = 1 << 20
_POINTER = struct.Struct("<Q")


def list_entries(kernel: Kernel, head: int, longest: int = LONGEST) -> Iterator[int]:
    """Addresses of the ``struct list_head`` nodes on the list at *head*, which is not itself given.

    The walk stops at an unreadable node, at one seen before, and after *longest* nodes.
    """
    seen = {head}
    node = _next(kernel, head)
    while node is not None and node not in seen and len(seen) <= longest:
        seen.add(node)
        yield node
        node = _next(kernel, node)


def hlist_entries(kernel: Kernel, head: int, longest: int = LONGEST) -> Iterator[int]:
    """Addresses of the ``struct hlist_node`` nodes on the list whose ``struct hlist_head`` is at *head*."""
    seen: set[int] = set()
    node = _next(kernel, head)
    while node and node not in seen and len(seen) < longest:
        seen.add(node)
        yield node
        node = _next(kernel, node)


def _next(kernel: Kernel, node: int) -> int | None:
    try:
        return int(_POINTER.unpack(kernel.read(node, 8))[0])
    except (drgn.FaultError, OverflowError):
        return None
