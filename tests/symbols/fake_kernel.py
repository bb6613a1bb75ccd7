# SPDX-License-Identifier: LGPL-2.1-or-later
"""A made-up kernel with two modules, a BPF program and kept init functions: BTF, kallsyms and memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from drgn import Program

from pageowner.symbols.btf import Btf, Kind
from pageowner.symbols.btf_types import BtfTypes
from pageowner.symbols.globals import GlobalFinder
from pageowner.symbols.kallsyms import Kallsyms
from pageowner.symbols.table import SymbolTable
from tests.symbols.btf_blob import Blob
from tests.symbols.fake_memory import Memory

LONG = "long unsigned int"
NAME_SIZE = 24
# ELF symbols: name, section index, value
SYMBOLS = [
    ("", 0, 0),
    ("elsewhere", 0, 0),
    ("zs_malloc", 1, 0x9010),
    ("zs_alias", 1, 0x9010),
    ("", 1, 0x9018),
    ("$d", 1, 0x901A),
    (".LC0", 1, 0x901C),
    ("zs_free", 1, 0x9020),
]


def types(layouts: bool = False) -> Blob:
    """The structures; with *layouts* the modules' memory as up to 6.3."""
    blob = Blob()
    word, char, number = blob.int(LONG, 8), blob.int("char", 1, 1), blob.int("unsigned int", 4)
    string, name = blob.pointer(char), blob.array(char, NAME_SIZE)
    head = blob.next_id
    blob.struct("list_head", 16, [("next", head + 1, 0), ("prev", head + 1, 64)])
    blob.pointer(head)
    members = [("symtab", string, 0), ("num_symtab", number, 64)]
    members += [("strtab", string, 128), ("typetab", string, 192)]
    table = blob.struct("mod_kallsyms", 32, members)
    state = blob.enum("module_state", {"MODULE_STATE_LIVE": 0, "MODULE_STATE_UNFORMED": 3})
    members = [("state", state, 0), ("list", head, 64), ("name", name, 192)]
    members += [("kallsyms", blob.pointer(table), 384)]
    if layouts:
        parts = [("base", string, 0), ("size", number, 64), ("text_size", number, 96)]
        layout = blob.struct("module_layout", 24, parts)
        members += [("core_layout", layout, 448), ("init_layout", layout, 640)]
    else:
        part = blob.struct("module_memory", 16, [("base", string, 0), ("size", number, 64)])
        members += [("mem", blob.array(part, 2), 448)]
    module = blob.struct("module", 104, members)
    program = [("start", word, 0), ("end", word, 64), ("name", name, 128), ("lnode", head, 320)]
    blob.struct("bpf_ksym", 56, program)
    kept = [("list", head, 0), ("mod", blob.pointer(module), 128), ("funcs", head, 192)]
    blob.struct("ftrace_mod_map", 40, kept)
    function = [("list", head, 0), ("name", string, 128), ("ip", word, 192), ("size", number, 256)]
    blob.struct("ftrace_mod_func", 40, function)
    data = [("data", string, 0), ("data_size", number, 64), ("start_id", number, 96)]
    btf = blob.pointer(blob.struct("btf", 16, data))
    blob.struct("btf_module", 24, [("list", head, 0), ("btf", btf, 128)])
    blob.struct("page", 64, [("flags", word, 0)])
    proto = blob.add(Kind.FUNC_PROTO, "", word, vlen=0)
    blob.add(Kind.FUNC, "do_read", proto)
    blob.add(Kind.VAR, "per_cpu_word", word, 0)
    return blob


@dataclass
class FakeKernel:
    """Lists are filled with :meth:`add` and become part of memory at once."""

    layouts: bool = False
    memory: Memory = field(default_factory=Memory)
    heads: dict[str, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("modules", "bpf_kallsyms", "ftrace_mod_maps", "btf_modules"):
            self.heads[name] = self.empty_list()

    @property
    def prog(self) -> Program:
        return self.memory.prog

    def attach(self, symbols: dict[str, int] | None = None) -> BtfTypes:
        """Give the program its types and globals; *symbols* are more than the list heads."""
        rows = sorted((address, name) for name, address in {**self.heads, **(symbols or {})}.items())
        addresses = np.array([address for address, _ in rows], np.uint64)
        table = SymbolTable(Kallsyms(addresses, [name for _, name in rows], b"D" * len(rows)))
        kinds = BtfTypes(self.prog, Btf(types(self.layouts).build()))
        self.prog.register_type_finder("test", kinds.finder, enable_index=0)
        self.prog.register_object_finder("test", GlobalFinder(self.prog, table, kinds), enable_index=-1)
        return kinds

    def empty_list(self) -> int:
        head = self.memory.words(0, 0)
        self.memory.patch(head, head, head)
        self.last[head] = head
        return head

    def add(self, head: int, node: int) -> None:
        """Put the ``struct list_head`` at *node* at the end of the list."""
        self.memory.patch(self.last[head], node)
        self.memory.patch(node, head)
        self.last[head] = node

    def module(self, name: str, state: int = 0) -> int:
        """A loaded module with :data:`SYMBOLS`, text at 0x9000-0x9100 and data at 0xa000-0xa010."""
        strings, rows = b"\0", b""
        for text, section, value in SYMBOLS:
            rows += struct.pack("<IBBHQQ", len(strings) if text else 0, 0, 0, section, value, 0)
            strings += text.encode() + b"\0" if text else b""
        letters = self.memory.put(b"?" * 2 + b"t" * (len(SYMBOLS) - 2))
        table = self.memory.words(self.memory.put(rows), len(SYMBOLS), self.memory.put(strings), letters)
        parts = [0x9000, 0x1010 | 0x100 << 32, 0] if self.layouts else [0x9000, 0x100, 0xA000, 0x10]
        parts += [0] * (6 - len(parts))
        raw = struct.pack("<QQQ24sQ6Q", state, 0, 0, name.encode(), table, *parts)
        address = self.memory.put(raw)
        self.add(self.heads["modules"], address + 8)
        return address

    def bpf(self, name: str, start: int, end: int) -> int:
        address = self.memory.put(struct.pack("<QQ24sQQ", start, end, name.encode(), 0, 0))
        self.add(self.heads["bpf_kallsyms"], address + 40)
        return address

    def kept_function(self, module: int, name: str, start: int, size: int) -> None:
        text = self.memory.put(name.encode() + b"\0")
        kept = self.memory.words(0, 0, module, 0, 0)
        self.memory.patch(kept + 24, kept + 24, kept + 24)
        self.last[kept + 24] = kept + 24
        self.add(self.heads["ftrace_mod_maps"], kept)
        self.add(kept + 24, self.memory.words(0, 0, text, start, size))

    def module_btf(self, data: bytes, first_id: int) -> None:
        btf = self.memory.put(struct.pack("<QII", self.memory.put(data), len(data), first_id))
        self.add(self.heads["btf_modules"], self.memory.words(0, 0, btf))
