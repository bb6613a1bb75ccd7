# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names for addresses and addresses for names, as the kernel itself gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
from drgn import Program, Symbol, SymbolBinding, SymbolKind

from pageowner.symbols.kallsyms import Kallsyms
from pageowner.symbols.regions import Others, Region, Span, Spans

U64s = npt.NDArray[np.uint64]


class SymbolTable:
    """Symbols of one kernel.

    :param kallsyms: those of the kernel image.
    :param load_others: reads those of modules and BPF programs; called once, and only when an address or a
        name is not the image's.
    """

    def __init__(self, kallsyms: Kallsyms, load_others: Callable[[], Others] = Others) -> None:
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
        """Address of the image's first variable called *name*; a function of that name is passed over.

        :raises KeyError: if there is none.
        """
        core = self.kallsyms
        index = self._index[name]
        # Letters do not tell: 7.2 has T for what lies in .data.
        while int(core.addresses[index]) in self._text:
            try:
                index = core.names.index(name, index + 1)
            except ValueError:
                raise KeyError(name) from None
        return int(core.addresses[index])

    def __contains__(self, name: str) -> bool:
        """Whether the image has a symbol called *name*."""
        return name in self._index

    def symbolize(self, addresses: U64s) -> list[str]:
        """The text of ``%pS`` for each address: ``name+0xoffset/0xsize``, and `` [module]`` for a module's.

        :param addresses: uint64, shape (n,)
        :returns: n strings; an address that no symbol covers is given as ``0x…``, as the kernel does.
        """
        unique, inverse = np.unique(np.asarray(addresses, np.uint64), return_inverse=True)
        texts = self._texts(unique)
        return [texts[i] for i in inverse.tolist()]

    def span_at(self, address: int) -> Span | None:
        """The symbol that covers *address*, with its start, size, letter and module."""
        one = np.array([address], np.uint64)
        for spans in self._tiers():
            number = int(spans.find(one)[0])
            if number >= 0:
                return spans.span(number)
        return None

    def name_at(self, address: int) -> str | None:
        """Name of the first symbol that starts at exactly *address*."""
        span = self.span_at(address)
        return span.name if span and span.start == address else None

    def module_at(self, address: int) -> str | None:
        """Name of the module whose memory *address* lies in; None for the image's and others."""
        for region in (region for tier in self._others.tiers for region in tier):
            if region.module and region.start <= address < region.end:
                return region.module
        return None

    @property
    def notes(self) -> list[str]:
        """One line for each list or module whose symbols could not be read."""
        return self._others.notes

    def finder(self, prog: Program, name: str | None, address: int | None, one: bool) -> list[Symbol]:
        """drgn's symbol finder."""
        if address is not None:
            span = self.span_at(address)
            return [self._symbol(span)] if span and name in (None, span.name) else []
        if name is None:
            return [] if one else self._all()
        try:
            start = self.lookup(name)
        except KeyError:
            return []
        # Outside the image's text and data (per-CPU offsets) there is a name, but no size.
        span = self.span_at(start) or Span(name, start, 0, "?", "")
        return [self._symbol(span._replace(name=name))]

    def _symbol(self, span: Span) -> Symbol:
        binding = SymbolBinding.GLOBAL if span.letter.isupper() else SymbolBinding.LOCAL
        if span.letter in "wWvV":
            binding = SymbolBinding.WEAK
        function = span.letter in "tTwW" and (bool(span.module) or span.start in self._text)
        kind = SymbolKind.FUNC if function else SymbolKind.OBJECT
        return Symbol(span.name, span.start, span.size, binding, kind)

    @cached_property
    def _text(self) -> range:
        """Addresses of the image's functions."""
        if "_stext" in self and "_etext" in self:
            return range(self.lookup("_stext"), self.lookup("_etext"))
        return range(0)

    def _all(self) -> list[Symbol]:
        core = self.kallsyms
        sizes = np.diff(core.addresses, append=core.addresses[-1:]).tolist()
        rows = zip(core.names, core.addresses.tolist(), sizes, map(chr, core.letters), strict=True)
        return [self._symbol(Span(*row, "")) for row in rows]

    def _tiers(self) -> Iterator[Spans]:
        """Where to look, in order; those outside the image only if it comes to that."""
        yield self._core
        yield from self._other_spans

    def _texts(self, unique: U64s) -> list[str]:
        texts = [f"0x{address:x}" for address in unique.tolist()]
        left = np.arange(len(unique))
        for spans in self._tiers():
            numbers = spans.find(unique[left])
            for i, number in zip(left.tolist(), numbers.tolist(), strict=True):
                if number >= 0:
                    texts[i] = spans.span(number).text(int(unique[i]))
            left = left[numbers < 0]
            if not len(left):
                break
        return texts

    @cached_property
    def _index(self) -> dict[str, int]:
        names = self.kallsyms.names
        # The first of equal names stays: it is written last.
        return dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))

    @cached_property
    def _others(self) -> Others:
        return self._load_others()

    @cached_property
    def _other_names(self) -> dict[str, int]:
        names: dict[str, int] = {}
        for region in (region for tier in reversed(self._others.tiers) for region in reversed(tier)):
            names.update(zip(reversed(region.names), reversed(region.values.tolist()), strict=True))
        return names

    @cached_property
    def _core(self) -> Spans:
        return Spans(self._core_regions())

    @cached_property
    def _other_spans(self) -> list[Spans]:
        return [Spans(tier) for tier in self._others.tiers]

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
