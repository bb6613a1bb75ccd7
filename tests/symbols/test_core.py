# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real kernels: our symbols against what the kernel itself said before it was stopped."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from drgn import Program

from pageowner.symbols import SymbolTable, attach
from tests.symbols.helper_answers import answers

if TYPE_CHECKING:
    from tests.conftest import Capture

_FRAME = re.compile(r" (\S+)\+0x([0-9a-f]+)/0x[0-9a-f]+( \[\S+\])?")
# The kernel passes these over when it names addresses, but /proc/kallsyms lists them.
_MAPPING = ("$", ".L", "L0")
_LARGEST_OFFSET = 1 << 32


@pytest.fixture(scope="session")
def kernel(core_path: Path) -> tuple[Program, SymbolTable]:
    prog = Program()
    prog.set_core_dump(core_path)
    return prog, attach(prog)


def _kallsyms(capture: Capture) -> list[tuple[int, str, str, str]]:
    """Address, letter, name and module of each line of /proc/kallsyms."""
    rows = []
    for line in capture.text("kallsyms.txt").splitlines():
        symbol, _, module = line.partition("\t")
        address, letter, name = symbol.split(" ", 2)
        rows.append((int(address, 16), letter, name, module.strip("[]")))
    return rows


def test_the_image_has_the_symbols_that_the_kernel_listed(capture: Capture, kernel: Any) -> None:
    core = kernel[1].kallsyms
    ours = list(zip(core.addresses.tolist(), map(chr, core.letters), core.names, strict=True))
    assert ours == [row[:3] for row in _kallsyms(capture) if not row[3]]


def test_modules_have_the_symbols_that_the_kernel_listed(capture: Capture, kernel: Any) -> None:
    missing = [
        (name, module)
        for address, _, name, module in _kallsyms(capture)
        if module and not name.startswith(_MAPPING) and not module.startswith("__builtin")
        # the first alias at the address is as good
        and kernel[1].name_at(address) is None
        # per-CPU variables are offsets until 6.14, not addresses
        and (address > _LARGEST_OFFSET or kernel[1].lookup(name) != address)
    ]
    assert missing == []
    assert kernel[1].notes == []


def test_stack_lines_are_the_kernels(capture: Capture, kernel: Any) -> None:
    capture.need_records()
    by_name = defaultdict(list)
    for address, _, name, module in _kallsyms(capture):
        by_name[name, module].append(address)
    lines = {line for line in capture.text("page_owner.txt").splitlines() if line.startswith(" ")}
    named = {line: match for line in lines if (match := _FRAME.fullmatch(line))}
    assert len(named) > 300
    wrong = []
    for line, match in named.items():
        name, offset, module = match[1], int(match[2], 16), (match[3] or "").strip(" []")
        # Static functions of one name are several; one of them is meant.
        # BPF programs are `[bpf]` in kallsyms, and without a suffix in stacks (bpf_address_lookup()).
        found = by_name[name, module] or by_name[name, "bpf"]
        places = np.array(found, np.uint64) + np.uint64(offset)
        if line[1:] not in kernel[1].symbolize(places):
            wrong.append(line)
    assert wrong == []


def test_drgns_helpers_work(kernel: Any) -> None:
    failed = {n: a for n, a in answers(kernel[0]).items() if isinstance(a, str) and "Error: " in a}
    # Command lines are in user pages, which a filtered core leaves out.
    assert failed.pop("command lines", "FaultError").startswith("FaultError")
    # Until 5.11 drgn goes through nr_swapper_spaces, whose length neither BTF nor kallsyms tells.
    length = "TypeError: 'unsigned int []' is not iterable"
    assert failed.pop("counters", length) == length
    assert failed == {}


def test_unknown_globals_are_unknown(kernel: Any) -> None:
    with pytest.raises(KeyError):
        kernel[0]["no_such_global"]
    with pytest.raises(LookupError):
        kernel[0].type("struct no_such_struct")
