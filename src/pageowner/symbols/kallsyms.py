# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own symbol table, read from its memory and expanded with numpy.

Mirrors ``kernel/kallsyms.c``. A name is a length and that many tokens; a token is a short string; the first
letter of the expanded name is the symbol's type as nm(1) gives it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from pageowner.errors import SymbolsError
from pageowner.symbols.kallsyms_scan import find_kallsyms
from pageowner.symbols.vmcoreinfo import Vmcoreinfo

MAX_SYMBOLS = 4_000_000
MAX_NAME_BYTES = 64 << 20
_CORRUPT = "the kernel's symbol table (kallsyms) in this source is corrupt or cut off"

U64s = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class RawKallsyms:
    """The compressed tables, copied out of the target's memory."""

    count: int
    #: at least the bytes of :attr:`count` names
    names: bytes
    #: NUL-terminated strings, and where in them each of the 256 tokens starts
    token_table: bytes
    token_index: npt.NDArray[np.uint16]
    #: what the table of offsets or addresses may mean, likeliest first; shape (count,) each
    addresses: Callable[[], list[U64s]]


@dataclass(frozen=True)
class Kallsyms:
    """The expanded table, in table order, which is by address and, for aliases, as the linker left them."""

    addresses: U64s
    names: list[str]
    #: nm(1) letters, one byte per symbol
    letters: bytes


def load_kallsyms(prog: Program, note: Vmcoreinfo) -> Kallsyms:
    """Read and expand the table that VMCOREINFO points to (6.0, f09bddbd8661, and backports), or find it.

    :raises SymbolsError: if there is none, or it is damaged.
    """
    where = note.symbols
    needed = [f"kallsyms_{name}" for name in ("names", "num_syms", "token_table", "token_index")]
    values = where.get("kallsyms_offsets") or where.get("kallsyms_addresses")
    if not values or not all(where.get(name) for name in needed):
        where = find_kallsyms(prog, note)
    try:
        return expand(_read(prog, where), where.get("_stext", 0))
    except FaultError as error:
        raise SymbolsError(f"{_CORRUPT}: {error}") from error


def expand(raw: RawKallsyms, stext: int) -> Kallsyms:
    """Expand *raw*; the meaning of the offsets is the one that puts ``_stext`` at *stext*.

    :raises SymbolsError: if the tables contradict themselves.
    """
    text, letters = expand_names(raw)
    names = text.split("\0")[1:]
    if len(names) != raw.count:
        raise SymbolsError(_CORRUPT)
    for addresses in raw.addresses():
        if not stext or stext in addresses[[i for i, name in enumerate(names) if name == "_stext"]]:
            return in_address_order(Kallsyms(addresses, names, letters))
    raise SymbolsError(f"{_CORRUPT}: its _stext is not where VMCOREINFO says")


def expand_names(raw: RawKallsyms) -> tuple[str, bytes]:
    """All names, each behind a NUL, and their type letters.

    :raises SymbolsError: if a name or token leaves its table.
    """
    lengths, big = _lengths(raw.names, raw.count)
    rows = lengths + 1 + big
    heads = np.cumsum(rows) - rows
    data = np.frombuffer(raw.names, np.uint8, int(rows.sum())).astype(np.int16)
    # Length bytes become the 257th token, the empty one.
    data[heads] = 256
    data[heads[big] + 1] = 256
    tokens = _tokens(raw)
    sizes = np.array([len(token) for token in tokens])[data]
    ends = np.cumsum(sizes)
    if ends[-1] > MAX_NAME_BYTES:
        raise SymbolsError(_CORRUPT)
    firsts = (ends - sizes)[heads]
    if bool((firsts == np.append(firsts[1:], ends[-1])).any()):
        raise SymbolsError(_CORRUPT)  # a name of no letters
    chars = bytearray().join(map(tokens.__getitem__, data.tolist()))
    view = np.frombuffer(chars, np.uint8)
    letters = view[firsts].tobytes()
    view[firsts] = 0
    return chars.decode("utf-8", "backslashreplace"), letters


def _lengths(names: bytes, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """How many tokens each name has, and whether its length takes two bytes (6.1+, 73bbb94466fd)."""
    lengths, big = [], []
    at, end = 0, len(names)
    try:
        for _ in range(count):
            length = names[at]
            two = length > 0x7F
            if two:
                length = length & 0x7F | names[at + 1] << 7
            lengths.append(length)
            big.append(two)
            at += length + 1 + two
    except IndexError:
        at = end + 1
    if at > end:
        raise SymbolsError(_CORRUPT)
    return np.array(lengths, np.int64), np.array(big, np.bool_)


def _tokens(raw: RawKallsyms) -> list[bytes]:
    """The 256 tokens and an empty one."""
    ends = [raw.token_table.find(b"\0", start) for start in raw.token_index.tolist()]
    if min(ends) < 0:
        raise SymbolsError(_CORRUPT)
    return [*(raw.token_table[a:b] for a, b in zip(raw.token_index.tolist(), ends, strict=True)), b""]


def _read(prog: Program, where: dict[str, int]) -> RawKallsyms:
    count = prog.read_u32(where["kallsyms_num_syms"])
    names, table, index = (where[f"kallsyms_{name}"] for name in ("names", "token_table", "token_index"))
    # In every version the names come before the tokens, and the token index right behind these.
    sane = 0 < table - names <= MAX_NAME_BYTES and 0 < index - table <= 1 << 16
    if not sane or not 0 < count <= MAX_SYMBOLS:
        raise SymbolsError(_CORRUPT)
    return RawKallsyms(
        count=count,
        names=prog.read(names, table - names),
        token_table=prog.read(table, index - table),
        token_index=np.frombuffer(prog.read(index, 512), "<u2"),
        addresses=lambda: _addresses(prog, where, count),
    )


def _addresses(prog: Program, where: dict[str, int], count: int) -> list[U64s]:
    if not (at := where.get("kallsyms_offsets")):
        return [np.frombuffer(prog.read(where["kallsyms_addresses"], 8 * count), "<u8")]
    offsets = np.frombuffer(prog.read(at, 4 * count), "<i4")
    base_at = where.get("kallsyms_relative_base")
    return meanings(offsets, at, prog.read_u64(base_at) if base_at else None)


def meanings(offsets: npt.NDArray[np.int32], at: int, base: int | None) -> list[U64s]:
    """What 32-bit *offsets*, stored at address *at*, may mean; modulo 2^64.

    Without a *base* each is relative to its own address (7.0+). With one they are unsigned and relative to
    it, or, on x86-64 SMP up to 6.14, absolute if positive and counted down from the base if negative.
    """
    wide = offsets.astype(np.int64).astype(np.uint64)
    if base is None:
        return [np.uint64(at) + np.arange(len(offsets), dtype=np.uint64) * np.uint64(4) + wide]
    start = np.uint64(base)
    percpu = np.where(offsets >= 0, wide, start - np.uint64(1) - wide)
    return [percpu, start + offsets.view(np.uint32).astype(np.uint64)]


def in_address_order(table: Kallsyms) -> Kallsyms:
    """*table* by address; aliases keep their order."""
    if bool((table.addresses[1:] >= table.addresses[:-1]).all()):
        return table
    order = np.argsort(table.addresses, kind="stable")
    letters = np.frombuffer(table.letters, np.uint8)[order].tobytes()
    return Kallsyms(table.addresses[order], [table.names[i] for i in order.tolist()], letters)
