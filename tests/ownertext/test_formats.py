# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which form of the text a kernel prints, by its format strings or, without them, by its structures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pageowner.kernel.target import Kernel
from pageowner.ownertext.formats import TextShape, text_shape
from pageowner.sources import open_core

HEAD = "Page allocated via order %u, mask %#x(%pGg)"
NEW, OLD = (
    "PFN 0x%lx type %s Block %lu type %s Flags %pGp\n",
    "PFN %lu type %s Block %lu type %s Flags %#lx(%pGp)\n",
)
MEMCG = "Charged %sto %smemcg %s\n"
PID, TGID, TS, FREE_TS = ", pid %d", ", tgid %d (%s)", ", ts %llu ns", ", free_ts %llu ns"
FORMS: dict[str, tuple[str, str, str, TextShape]] = {
    "5.10": ("\n", OLD, "", TextShape(frozenset(), False, False)),
    "5.15": (f"{PID}{TS}{FREE_TS}\n", OLD, "", TextShape(frozenset({"pid", "ts", "free_ts"}), False, False)),
    "6.1": (
        f"{PID}{TGID}{TS}{FREE_TS}\n",
        OLD,
        MEMCG,
        TextShape(frozenset({"pid", "tgid", "ts", "free_ts"}), False, True),
    ),
    "6.12": (f"{PID}{TGID}{TS}\n", NEW, MEMCG, TextShape(frozenset({"pid", "tgid", "ts"}), True, True)),
}
MEMBERS = {
    "5.10": set[str](),
    "5.15": {"pid", "ts_nsec", "free_ts_nsec", "memcg_data"},
    "6.1": {"pid", "ts_nsec", "free_ts_nsec", "comm", "memcg_data"},
    "6.12": {"pid", "ts_nsec", "free_ts_nsec", "comm", "memcg_data", "free_pid", "need_shared_flags"},
}


def kernel(rodata: bytes, members: set[str]) -> Kernel:
    """A kernel with only read-only data and structure members."""
    symbols = {"__start_rodata": 0x1000, "__end_rodata": 0x1000 + len(rodata)}
    fake = SimpleNamespace(
        symbols=SimpleNamespace(lookup=symbols.__getitem__),
        read_pieces=lambda address, size: (bytearray(rodata[:size]), np.ones(1, np.bool_)),
        has_member=lambda type_name, member: member in members,
    )
    return cast(Kernel, fake)


@pytest.mark.parametrize("version", FORMS)
def test_by_the_format_strings(version: str) -> None:
    rest, pfn, memcg, shape = FORMS[version]
    rodata = "\0".join(["x", HEAD + rest, pfn, memcg, ""]).encode()
    assert text_shape(kernel(rodata, {"memcg_data"})) == shape


@pytest.mark.parametrize("version", FORMS)
def test_by_the_structures(version: str) -> None:
    assert text_shape(kernel(b"\0" * 64, MEMBERS[version])) == FORMS[version][3]


def test_a_format_that_is_not_understood_is_not_used() -> None:
    rodata = "\0".join([HEAD + ", node %d, ts %llu ns\n", NEW, MEMCG, ""]).encode()
    assert text_shape(kernel(rodata, MEMBERS["6.12"])) == FORMS["6.12"][3]


def test_both_ways_agree_on_a_real_kernel(capture: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = open_core(capture.core)
    by_strings = text_shape(real)
    monkeypatch.setattr("pageowner.ownertext.formats._rodata", lambda kernel: b"")
    assert text_shape(real) == by_strings
