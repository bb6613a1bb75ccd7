# SPDX-License-Identifier: LGPL-2.1-or-later
"""An opened kernel: its types, its symbols and its memory, read one thing or many at a time.

Everything above this module reads the target through :class:`Kernel`; nothing here knows
what a page is used for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.errors import DAMAGED_TYPE, LayoutError
from pageowner.kernel.gather import gather_rows
from pageowner.kernel.watch import LOOKING

if TYPE_CHECKING:
    from pageowner.symbols.table import SymbolTable
    from pageowner.symbols.vmcoreinfo import Vmcoreinfo

T = TypeVar("T")
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
# x86-64 maps the kernel image at __START_KERNEL_map, 1 GiB long at most (see x86_64/mm.rst).
START_KERNEL_MAP = 0xFFFFFFFF80000000
KERNEL_IMAGE_SIZE = 1 << 30
# The direct map is at most 64 TiB with 4 paging levels, 32 PiB with 5.
PAGE_OFFSET_BASE = {4: 0xFFFF888000000000, 5: 0xFF11000000000000}
# Bytes of a string that are read at first: file names, cache names, process names.
_SHORT = 40
DIRECT_MAP_SIZE = {4: 1 << 46, 5: 1 << 55}


class Kernel:
    """A kernel whose memory, types and symbols can be read.

    :param prog: drgn program with type, object and symbol finders attached.
    :param symbols: the target's kallsyms.
    :param vmcoreinfo: the parsed VMCOREINFO note.
    """

    def __init__(self, prog: drgn.Program, symbols: SymbolTable, vmcoreinfo: Vmcoreinfo) -> None:
        self.prog = prog
        self.symbols = symbols
        self.vmcoreinfo = vmcoreinfo
        self._memo: dict[Any, Any] = {}
        self.notes: list[str] = []
        """One-line remarks on the source for standard error (truncated, bridged, …)."""
        self.last_words: list[Callable[[], str]] = []
        """Remarks that are worked out when the result is there (what it has cost)."""
        self.partial = False
        """True when the source lacks part of what it should hold: the result is partial, exit 4."""
        self.live = False
        """True when memory changes while it is read."""
        self.watch = LOOKING.get()
        """Told how far reading has got, and asked whether to go on."""
        self.own_pages: Callable[[], I64] | None = None
        """For the running kernel: sorted PFNs of pages that this process itself has or had."""
        self.excluded: Callable[[I64], Bools] | None = None
        """Which PFNs a filter left out of the dump, where the source tells (None: it left out nothing)."""
        self.read_log: Callable[[int, int, bool], None] | None = None
        """Called with (address, size, physical) for every read, when set: tests draw bit flips from it."""

    # -- names ---------------------------------------------------------------------------------

    def object(self, name: str) -> drgn.Object:
        """The global variable *name*; ``LookupError`` when the target has none."""
        return self.prog[name]

    def address(self, name: str) -> int | None:
        """The address of symbol *name* in the kernel or a module, or None when neither has it."""
        try:
            return self.symbols.lookup(name)
        except KeyError:
            return None

    def constant(self, name: str) -> int | None:
        """The value of enumerator *name*, or None when the target does not know it."""
        try:
            return int(self.prog.constant(name))
        except LookupError:
            return None

    def number(self, name: str) -> int | None:
        """``NUMBER(name)`` of VMCOREINFO, or None."""
        return self.vmcoreinfo.numbers.get(name)

    def type(self, name: str) -> drgn.Type:
        """The type *name*; :class:`LayoutError` (one line) when the target's type information lacks it."""
        try:
            return self.prog.type(name)
        except LookupError as error:
            raise LayoutError(f"the target's type information has no `{name}`") from error

    def has_member(self, type_name: str, member: str) -> bool:
        """Whether *type_name* exists and has *member* (dotted, through anonymous members)."""
        try:
            self.offset(type_name, member)
        except LookupError:
            return False
        return True

    def offset(self, type_name: str, *members: str) -> int:
        """Byte offset of the first of *members* (newest name first) that *type_name* has.

        :raises LookupError: when it has none of them.
        """
        for member in members:
            try:
                return int(drgn.offsetof(self.prog.type(type_name), member))
            except (LookupError, *DAMAGED_TYPE):
                continue
        raise LookupError(f"{type_name} has no member {' or '.join(members)}")

    def dtype(self, type_name: str, fields: dict[str, tuple[str, ...] | str]) -> np.dtype[Any]:
        """A structured dtype that picks *fields* out of *type_name*, with the target's own offsets.

        *fields* maps our column name to the member's name, or to several names, newest first.
        Integer, pointer and enum members get the integer dtype of their size and sign; arrays of
        char become ``S<n>``. The itemsize is that of the type.

        :raises LookupError: when the type or a member is missing.
        :raises LayoutError: when a member is no number or lies outside: damaged type information.
        """
        type_ = self.prog.type(type_name)
        names, formats, offsets = [], [], []
        for column, members in fields.items():
            member, offset = _first_member(type_, (members,) if isinstance(members, str) else members)
            names.append(column)
            formats.append(_format_of(member, f"{type_name}.{column}"))
            offsets.append(offset)
        spec = {"names": names, "formats": formats, "offsets": offsets, "itemsize": int(type_.size or 0)}
        try:
            return np.dtype(spec)  # type: ignore[call-overload,no-any-return]
        except ValueError as error:  # a member outside of the type
            raise LayoutError(
                f"the target's type information of `{type_name}` is damaged: {error}"
            ) from error

    def memo(self, make: Callable[[Kernel], T]) -> T:
        """``make(self)``, worked out once per kernel: for tables that several readers or layers share."""
        if make not in self._memo:
            self._memo[make] = make(self)
        made: T = self._memo[make]
        return made

    def knows(self, make: Callable[[Kernel], T]) -> bool:
        """Whether :meth:`memo` has worked out *make* before."""
        return make in self._memo

    def remember(self, make: Callable[[Kernel], T], made: T) -> None:
        """Let :meth:`memo` give *made* for *make* from now on."""
        self._memo[make] = made

    def forget(self, make: Callable[[Kernel], T]) -> None:
        """Let :meth:`memo` work *make* out anew."""
        self._memo.pop(make, None)

    # -- memory --------------------------------------------------------------------------------

    @cached_property
    def page_offset(self) -> int:
        """``page_offset_base``: where the direct map of all physical memory starts."""
        try:
            return int(self.object("page_offset_base"))
        except LookupError:  # no CONFIG_DYNAMIC_MEMORY_LAYOUT: where it always was
            return PAGE_OFFSET_BASE[self.paging_levels]

    @cached_property
    def phys_base(self) -> int:
        """What KASLR added to the physical address of the image (``NUMBER(phys_base)``)."""
        return self.number("phys_base") or 0

    @cached_property
    def paging_levels(self) -> int:
        """4 or 5, from ``NUMBER(pgtable_l5_enabled)``; never guessed from addresses."""
        return 5 if self.number("pgtable_l5_enabled") else 4

    @cached_property
    def image_size(self) -> int:
        """Bytes set aside for the image: 1 GiB, or 512 MiB without KASLR, with modules right behind."""
        size = self.number("KERNEL_IMAGE_SIZE")
        return size if size is not None and 0 < size <= KERNEL_IMAGE_SIZE else KERNEL_IMAGE_SIZE

    @cached_property
    def direct_map_size(self) -> int:
        """Bytes from :attr:`page_offset` that can only be direct map.

        With CONFIG_RANDOMIZE_MEMORY vmalloc and vmemmap begin soon after the end of RAM.
        """
        largest = DIRECT_MAP_SIZE[self.paging_levels]
        try:
            size = int(self.object("vmalloc_base")) - self.page_offset
        except (LookupError, drgn.FaultError):
            return largest
        return size if 0 < size < largest else largest

    def linear_to_phys(self, addresses: U64) -> tuple[U64, Bools]:
        """Physical addresses of direct-map and kernel-image addresses, and which are such (``__pa()``)."""
        direct = addresses - np.uint64(self.page_offset)
        is_direct = direct < np.uint64(self.direct_map_size)
        is_image = addresses - np.uint64(START_KERNEL_MAP) < np.uint64(self.image_size)
        # phys_base may be negative; both subtractions are meant to wrap.
        image = addresses - np.uint64((START_KERNEL_MAP - self.phys_base) % (1 << 64))
        return np.where(is_image, image, direct), is_direct | is_image

    def read(self, address: int, size: int) -> bytes:
        """*size* bytes at kernel virtual *address*.

        The direct map is read by physical address, which spares a page-table walk per page.

        :raises drgn.FaultError: when any byte is unreadable.
        """
        offset = address - self.page_offset
        physical = 0 <= offset < self.direct_map_size
        where = offset if physical else address
        if self.read_log is not None:
            self.read_log(where, size, physical)
        return bytes(self.prog.read(where, size, physical))

    def read_phys(self, address: int, size: int) -> bytes:
        """*size* bytes at physical *address*; :class:`drgn.FaultError` when unreadable."""
        if self.read_log is not None:
            self.read_log(address, size, True)
        return bytes(self.prog.read(address, size, True))

    def read_pieces(self, address: int, size: int, fill: int = 0) -> tuple[bytes | bytearray, Bools]:
        """*size* bytes at *address*, read around the pages that fault.

        :returns: the bytes, unreadable pages filled with *fill*, and one bool per page of the target
            that the range touches: readable.
        """
        first = address >> PAGE_SHIFT
        pages = ((address + size - 1) >> PAGE_SHIFT) - first + 1 if size else 0
        try:
            return self.read(address, size), np.ones(pages, np.bool_)
        except (drgn.FaultError, OverflowError, ValueError):
            data, ok = bytearray([fill]) * size, np.zeros(pages, np.bool_)
        _read_around(self.read, address, data, 0, size, ok, first)
        return data, ok

    def gather(self, pointers: npt.NDArray[Any], dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], Bools]:
        """The structures that *pointers* point to, as one array.

        The pointers are sorted and near ones read together, so a million inodes cost some ten
        thousand reads and no drgn object.

        :param pointers: uint64[n], in any order, duplicates allowed.
        :returns: structured array[n] in the order of *pointers* (zeros where unreadable), bool[n] readable.
        """
        return gather_rows(self.read, np.asarray(pointers, np.uint64), dtype)

    def read_strings(self, pointers: npt.NDArray[Any], limit: int = 256) -> list[str | None]:
        """The C strings at *pointers*, None where unreadable: a Python string each, so for unique things."""
        unique, inverse = np.unique(np.asarray(pointers, np.uint64), return_inverse=True)
        # Most are short: one look at a few bytes of all of them spares a read each.
        heads, ok = self.gather(unique, np.dtype([("text", f"V{_SHORT}")]))
        raw = [bytes(head) for head in heads["text"].tolist()]
        texts = [
            head.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
            if there and b"\0" in head
            else self.read_string(int(pointer), limit)
            for pointer, head, there in zip(unique.tolist(), raw, ok.tolist(), strict=True)
        ]
        return [texts[i] for i in inverse.tolist()]

    def read_string(self, address: int, limit: int = 256) -> str | None:
        """The C string at *address*, at most *limit* bytes; None when unreadable.

        Bytes that are not UTF-8 come as surrogate escapes; reporters make them visible.
        """
        raw = b""
        while len(raw) < limit:
            room = min(PAGE_SIZE - (address + len(raw)) % PAGE_SIZE, limit - len(raw))
            try:
                raw += self.read(address + len(raw), room)
            except drgn.FaultError:
                return None
            if b"\0" in raw:
                break
        return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _first_member(type_: drgn.Type, members: tuple[str, ...]) -> tuple[drgn.Type, int]:
    for name in members:
        try:
            offset = int(drgn.offsetof(type_, name))
            return _member_type(type_, name), offset
        except (LookupError, *DAMAGED_TYPE):
            continue
    raise LookupError(f"{type_.type_name()} has no member {' or '.join(members)}")


def _member_type(type_: drgn.Type, dotted: str) -> drgn.Type:
    for part in dotted.split("."):
        while type_.kind == drgn.TypeKind.TYPEDEF:
            type_ = type_.type
        type_ = type_.member(part).type
    return type_


def _format_of(type_: drgn.Type, name: str) -> str:
    try:
        return _numpy_format(type_)
    except DAMAGED_TYPE as error:
        raise LayoutError(f"the target's type information is damaged (`{name}`: {error})") from error


def _numpy_format(type_: drgn.Type) -> str:
    while type_.kind == drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    size = drgn.sizeof(type_)
    if type_.kind == drgn.TypeKind.ARRAY and drgn.sizeof(type_.type) == 1:
        return f"S{size}"
    if type_.kind == drgn.TypeKind.ENUM:
        type_ = type_.type if type_.type is not None else type_
    if size in (1, 2, 4, 8):
        signed = type_.kind == drgn.TypeKind.INT and type_.is_signed
        return f"<{'i' if signed else 'u'}{size}"
    # Damaged type information: arithmetic on such a column would fail who knows where.
    raise LayoutError(f"the target's type information gives a number of {size} bytes (`{type_.type_name()}`)")


def _read_around(
    read: Callable[[int, int], bytes],
    base: int,
    data: bytearray,
    start: int,
    stop: int,
    ok: Bools,
    first: int,
) -> None:
    """Fill ``data[start:stop]`` from *base*, halving at page boundaries around what faults."""
    todo = [(start, stop)]
    while todo:
        low, high = todo.pop()
        if low >= high:
            continue
        a, b = (base + low) >> PAGE_SHIFT, (base + high - 1) >> PAGE_SHIFT
        try:
            data[low:high] = read(base + low, high - low)
            ok[a - first : b - first + 1] = True
        except (drgn.FaultError, OverflowError, ValueError):
            if a == b:
                continue
            middle = (((a + b + 1) // 2) << PAGE_SHIFT) - base
            todo += [(low, middle), (middle, high)]
