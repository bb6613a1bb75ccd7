# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which form of the page_owner text this kernel prints.

The text changed at 5.11, 5.13, 5.18, some time before 6.5 and again before 6.8, in stable trees at other
times, and in ways that no structure tells. But the kernel carries the format strings that it prints with, so
they are looked up in its read-only data; what the structures tell is the fallback for a dump without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pageowner.kernel.target import Kernel

_HEADER = b"Page allocated via order %u, mask %#x(%pGg)"
_PFN = (b"PFN 0x%lx type %s Block ", b"PFN %lu type %s Block ")
_MEMCG = b"Charged %sto %smemcg %s\n\0"
_MOST_RODATA = 256 << 20
# Optional parts of the header, in order.
_PARTS = (
    (b", pid %d", "pid"),
    (b", tgid %d (%s)", "tgid"),
    (b", ts %llu ns", "ts"),
    (b", free_ts %llu ns", "free_ts"),
)


@dataclass(frozen=True)
class TextShape:
    """What a record's lines contain.

    ``header``: those of pid, tgid (with comm), ts and free_ts that the first line gives; ``hex_pfn``: the PFN
    is ``0x…``; ``memcg``: charged pages have a line that says so.
    """

    header: frozenset[str]
    hex_pfn: bool
    memcg: bool


def text_shape(kernel: Kernel) -> TextShape:
    """The form that *kernel* prints."""
    rodata = _rodata(kernel)
    header, hex_pfn, memcg = _header(rodata), _hex_pfn(rodata), _MEMCG in rodata
    guess = _by_members(kernel.has_member)
    if header is None or hex_pfn is None:
        return guess
    return TextShape(header, hex_pfn, memcg and kernel.has_member("struct page", "memcg_data"))


def _header(rodata: bytes | bytearray) -> frozenset[str] | None:
    start = rodata.find(_HEADER)
    if start < 0:
        return None
    rest = bytes(rodata[start + len(_HEADER) : start + len(_HEADER) + 128]).split(b"\0")[0]
    found = frozenset(name for text, name in _PARTS if text in rest)
    # Only a string made of the known parts and nothing else is understood.
    known = b"".join(text for text, name in _PARTS if name in found) + b"\n"
    return found if rest == known else None


def _hex_pfn(rodata: bytes | bytearray) -> bool | None:
    for text, answer in zip(_PFN, (True, False), strict=True):
        if text in rodata:
            return answer
    return None


def _by_members(has: Callable[[str, str], bool]) -> TextShape:
    """What the structures tell; wrong for 6.7, which had dropped free_ts but did not know free_pid yet."""
    record = "struct page_owner"
    members = (("pid", "pid"), ("tgid", "comm"), ("ts", "ts_nsec"))
    header = {name for name, member in members if has(record, member)}
    if has(record, "free_ts_nsec") and not has(record, "free_pid"):
        header.add("free_ts")
    # need_shared_flags came in 6.3, the hexadecimal PFN between 6.1 and 6.5.
    hex_pfn = has("struct page_ext_operations", "need_shared_flags")
    return TextShape(frozenset(header), hex_pfn, has(record, "comm") and has("struct page", "memcg_data"))


def _rodata(kernel: Kernel) -> bytes | bytearray:
    try:
        start, end = kernel.symbols.lookup("__start_rodata"), kernel.symbols.lookup("__end_rodata")
    except KeyError:
        return b""
    if not 0 < end - start <= _MOST_RODATA:
        return b""
    return kernel.read_pieces(start, end - start)[0]
