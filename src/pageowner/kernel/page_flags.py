# SPDX-License-Identifier: LGPL-2.1-or-later
"""The flags word of struct page: names of its bits, node and zone, and its ``%pGp`` text (lib/vsprintf.c)."""

from __future__ import annotations

from dataclasses import dataclass

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.flag_names import FlagNames, read_flag_names
from pageowner.kernel.target import Kernel
from pageowner.rawtext import carry

U64 = npt.NDArray[np.uint64]
_PRINTED_FIELDS = 5  # section, node, zone, lastcpupid, kasantag


@dataclass(frozen=True)
class Field:
    """A number kept in the upper bits of the flags word; ``printed`` in base ``base`` (10, or 16 with 0x)."""

    name: str
    shift: int
    width: int
    base: int = 10
    printed: bool = True

    def of(self, words: U64) -> U64:
        """The field of each of *words*, uint64[n]."""
        return (words >> np.uint64(self.shift)) & np.uint64((1 << self.width) - 1)


@dataclass(frozen=True)
class PageFlags:
    """The flags word of one kernel.

    ``bits``: number of flag bits at the bottom; ``names``: in printing order (aliases are not in it);
    ``fields``: from the top, in printing order. 5.10 prints names only.
    """

    bits: int
    names: FlagNames
    fields: tuple[Field, ...]

    @property
    def mask(self) -> int:
        """PAGEFLAGS_MASK: the bits that are flags."""
        return (1 << self.bits) - 1

    @property
    def printed(self) -> tuple[Field, ...]:
        """The fields that appear in the text."""
        return tuple(field for field in self.fields if field.printed and field.width)

    def node(self, words: U64) -> U64:
        """``page_to_nid()`` of flags *words*, uint64[n]; 0 without NUMA."""
        return self._field("node", words)

    def zone(self, words: U64) -> U64:
        """``page_zonenum()`` of flags *words*, uint64[n]: index into the node's zones."""
        return self._field("zone", words)

    @property
    def place_bits(self) -> np.uint64:
        """The bits of a flags word that say in which node and zone a page is."""
        parts = (field for field in self.fields if field.name in ("node", "zone"))
        return np.uint64(sum(((1 << field.width) - 1) << field.shift for field in parts))

    def _field(self, name: str, words: U64) -> U64:
        for field in self.fields:
            if field.name == name:
                return field.of(words)
        return np.zeros(len(words), np.uint64)


def flag_mask(kernel: Kernel, name: str) -> int:
    """Bit mask of page flag *name* (``PG_reserved``) by the target's enum; 0 when it is no flag there.

    What became a page type (``PG_slab`` in 6.10) is none: its number is that of a type or gone.
    """
    bit = kernel.constant(name)
    bits = kernel.constant("__NR_PAGEFLAGS")
    return 1 << bit if bit is not None and bits is not None and bit < bits else 0


def read_page_flags(kernel: Kernel) -> PageFlags:
    """The layout of the flags word of *kernel*; names that the source lacks are left as numbers."""
    bits = kernel.constant("__NR_PAGEFLAGS") or 24
    fields = _printed_fields(kernel) or _derived_fields(kernel)
    return PageFlags(bits, kernel.memo(_names), fields)


def _names(kernel: Kernel) -> FlagNames:
    return read_flag_names(kernel, "pageflag_names")


def _printed_fields(kernel: Kernel) -> tuple[Field, ...]:
    """The fields by the table that the kernel itself prints from, ``pff`` in lib/vsprintf.c (not in 5.10)."""
    columns = {"width": "width", "shift": "shift", "spec": "spec", "name": "name"}
    try:
        dtype = kernel.dtype("struct page_flags_fields", dict(columns))
        base_at = kernel.offset("struct printf_spec", "base")
        raw = kernel.read(kernel.symbols.lookup("pff"), _PRINTED_FIELDS * dtype.itemsize)
    except (LookupError, drgn.FaultError):
        return ()
    rows = np.frombuffer(raw, dtype)
    names = kernel.read_strings(rows["name"], 32)
    found = []
    for row, name in zip(rows, names, strict=True):
        width, shift = int(row["width"]), int(row["shift"])
        if not name or not 0 <= width <= 64 or not 0 <= shift <= 64 - width:
            return ()
        if width:
            found.append(Field(carry(name), shift, width, _base(kernel, int(row["spec"]) + base_at)))
    return tuple(found)


def _base(kernel: Kernel, address: int) -> int:
    try:
        return 16 if kernel.read(address, 1) == b"\x10" else 10
    except (drgn.FaultError, OverflowError):
        return 10


def _derived_fields(kernel: Kernel) -> tuple[Field, ...]:
    """Node and zone by the rules of include/linux/page-flags-layout.h, for kernels that do not print them.

    With SPARSEMEM_VMEMMAP, which x86-64 distributions all use, there is no section field above them.
    """
    nodes = kernel.vmcoreinfo.lengths.get("node_data", 1)
    zones = kernel.constant("__MAX_NR_ZONES") or 4
    node_width = max(nodes - 1, 0).bit_length()
    zone_width = max(zones - 1, 0).bit_length()
    node = Field("node", 64 - node_width, node_width, printed=False)
    zone = Field("zone", node.shift - zone_width, zone_width, printed=False)
    return tuple(field for field in (node, zone) if field.width)
