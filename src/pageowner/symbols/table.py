# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names for addresses and addresses for names, as the kernel itself gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np
import numpy.typing as npt
from drgn import Program, Symbol, SymbolBinding, SymbolKind

from pageowner.symbols.kallsyms import Kallsyms

U64s = npt.NDArray[np.uint64]
I64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Region:
    """Addresses that one table of symbols speaks for: the kernel image, a module's text, a BPF program.

    ``values`` (uint64, shape (n,)) and ``names`` are in the table's own order, which decides between aliases.
    """

    start: int
    #: first address behind it
    end: int
    values: U64s
    names: Sequence[str]
    #: nm(1) letters, or empty
    letters: bytes = b""
    #: of the module, "" for others
    module: str = ""


class SymbolTable:
    """Symbols of one kernel.

    :param kallsyms: those of the kernel image.
    :param load_others: gives the regions of modules and BPF programs; called once, and only when an address
        or a name is not the image's.
    """

    def __init__(self, kallsyms: Kallsyms, load_others: Callable[[], list[Region]] = list) -> None:
        self.kallsyms = kallsyms
        self._load_others = load_others

    def lookup(self, name: str) -> int:
        """Address of the first symbol called *name* in the image, else in a module.

        :raises KeyError: if there is none.
        """
        index = self._index.get(name)
        if index is not None:
            return int(self.kallsyms.addresses[index])
        return self._other_names[name]

    def lookup_data(self, name: str) -> int:
        """Address of the first variable called *name*; a function of that name is passed over.

        :raises KeyError: if there is none.
        """
        index = self._index[name]
        if self.letter(index) not in "tTwW":
            return int(self.kallsyms.addresses[index])
        for index, other in enumerate(self.kallsyms.names):
            if other == name and self.letter(index) not in "tTwW":
                return int(self.kallsyms.addresses[index])
        raise KeyError(name)

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def letter(self, index: int) -> str:
        """The nm(1) letter of the image's symbol number *index*."""
        return chr(self.kallsyms.letters[index])

    def symbolize(self, addresses: U64s) -> list[str]:
        """The text of ``%pS`` for each address: ``name+0xoffset/0xsize``, and ``[module]`` for a module's.

        :param addresses: uint64, shape (n,)
        :returns: n strings; an address that no symbol covers is given as ``0x…``, as the kernel does.
        """
        unique, inverse = np.unique(np.asarray(addresses, np.uint64), return_inverse=True)
        texts = self._texts(unique)
        return [texts[i] for i in inverse.tolist()]

    def name_at(self, address: int) -> str | None:
        """Name of the first symbol that starts at exactly *address*."""
        found = self._span(address)
        return found[0] if found and found[1] == address else None

    def module_at(self, address: int) -> str | None:
        """Name of the module whose memory *address* lies in; None for the image's and others."""
        for region in self._others:
            if region.module and region.start <= address < region.end:
                return region.module
        return None

    def finder(self, prog: Program, name: str | None, address: int | None, one: bool) -> list[Symbol]:
        """drgn's symbol finder."""
        if address is not None:
            found = self._span(address)
            if found is None or (name is not None and found[0] != name):
                return []
            return [_symbol(*found)]
        if name is None:
            return [] if one else self._all()
        try:
            found = self._span(self.lookup(name))
        except KeyError:
            return []
        # The alias that was asked for, not the first one at its address.
        return [_symbol(name, *found[1:])] if found else [_symbol(name, self.lookup(name), 0, "?")]

    def _all(self) -> list[Symbol]:
        core = self.kallsyms
        sizes = np.diff(core.addresses, append=core.addresses[-1:]).tolist()
        letters = map(chr, core.letters)
        return list(map(_symbol, core.names, core.addresses.tolist(), sizes, letters))

    @cached_property
    def _index(self) -> dict[str, int]:
        names = self.kallsyms.names
        # The first of equal names stays: it is written last.
        return dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))

    @cached_property
    def _others(self) -> list[Region]:
        return self._load_others()

    @cached_property
    def _other_names(self) -> dict[str, int]:
        names: dict[str, int] = {}
        for region in reversed(self._others):
            names.update(zip(reversed(region.names), reversed(region.values.tolist()), strict=True))
        return names

    @cached_property
    def _core(self) -> _Spans:
        return _Spans(self._core_regions())

    @cached_property
    def _other_spans(self) -> _Spans:
        return _Spans(self._others)

    def _core_regions(self) -> list[Region]:
        """What ``is_ksym_addr()`` lets through: all of the image, or without KALLSYMS_ALL its text."""
        pairs = [("_stext", "_end")]
        if "_end" not in self:
            pairs = [("_stext", "_etext"), ("_sinittext", "_einittext")]
        core = self.kallsyms
        return [
            Region(self.lookup(first), self.lookup(last), core.addresses, core.names, core.letters)
            for first, last in pairs
            if first in self and last in self
        ]

    def _span(self, address: int) -> tuple[str, int, int, str] | None:
        """Name, start, size and letter of the symbol that covers *address*."""
        one = np.array([address], np.uint64)
        for spans in (self._core, self._other_spans):
            index = int(spans.find(one)[0])
            if index >= 0:
                name, letter, _ = spans.name(index)
                return name, int(spans.starts[index]), int(spans.sizes[index]), letter
        return None

    def _texts(self, unique: U64s) -> list[str]:
        texts = self._core.texts(unique)
        lost = [i for i, text in enumerate(texts) if text is None]
        if lost:
            found = self._other_spans.texts(unique[lost])
            for i, text in zip(lost, found, strict=True):
                texts[i] = text
        return [t if t is not None else f"0x{a:x}" for t, a in zip(texts, unique.tolist(), strict=True)]


class _Spans:
    """Runs of addresses that do not overlap, one per distinct symbol address, over all *regions*."""

    def __init__(self, regions: list[Region]) -> None:
        self.regions = sorted(regions, key=lambda region: region.start)
        parts = [_spans_of(region) for region in self.regions]
        self.starts = np.concatenate([p[0] for p in parts] or [np.empty(0, np.uint64)])
        self.sizes = np.concatenate([p[1] for p in parts] or [np.empty(0, np.uint64)])
        self._which = np.concatenate([p[2] for p in parts] or [np.empty(0, np.int64)])
        self._region = np.repeat(np.arange(len(parts)), [len(p[0]) for p in parts])

    def find(self, addresses: U64s) -> I64s:
        """Number of the run that covers each address, or -1."""
        at = np.searchsorted(self.starts, addresses, "right") - 1
        known = at >= 0
        known[known] = addresses[known] - self.starts[at[known]] < self.sizes[at[known]]
        return np.where(known, at, -1)

    def name(self, index: int) -> tuple[str, str, str]:
        """Name, letter and module of run *index*."""
        region, which = self.regions[self._region[index]], int(self._which[index])
        letter = chr(region.letters[which]) if which < len(region.letters) else "?"
        return region.names[which], letter, region.module

    def texts(self, addresses: U64s) -> list[str | None]:
        at = self.find(addresses)
        offsets = (addresses - self.starts[at]).tolist() if len(self.starts) else repeat(0)
        sizes = self.sizes[at].tolist() if len(self.starts) else repeat(0)
        return [
            self._text(i, offset, size) if i >= 0 else None
            for i, offset, size in zip(at.tolist(), offsets, sizes, strict=False)
        ]

    def _text(self, index: int, offset: int, size: int) -> str:
        name, _, module = self.name(index)
        return f"{name}+0x{offset:x}/0x{size:x}" + (f" [{module}]" if module else "")


def _spans_of(region: Region) -> tuple[U64s, U64s, I64s]:
    """Start, size and table index of each distinct symbol address in *region*.

    As in ``get_symbol_pos()`` and ``find_kallsyms_symbol()``: of aliases the first in the table counts, and
    a symbol reaches to the next distinct address, at most to the end of the region.
    """
    values, first = np.unique(region.values, return_index=True)
    low, high = np.searchsorted(values, np.array([region.start, region.end], np.uint64))
    starts = values[low:high]
    sizes = np.diff(starts, append=np.uint64(region.end))
    return starts, sizes, first[low:high].astype(np.int64)


def _symbol(name: str, address: int, size: int, letter: str) -> Symbol:
    binding = SymbolBinding.GLOBAL if letter.isupper() else SymbolBinding.LOCAL
    if letter in "wWvV":
        binding = SymbolBinding.WEAK
    kind = SymbolKind.FUNC if letter in "tTwW" else SymbolKind.OBJECT
    return Symbol(name, address, size, binding, kind)
