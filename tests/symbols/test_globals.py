# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import pytest

from pageowner.symbols.globals import CHANGED, SAME
from tests.symbols.fake_kernel import FakeKernel


def test_a_global_gets_the_type_of_its_row() -> None:
    kernel = FakeKernel()
    kernel.attach({"max_pfn": kernel.memory.words(0x1234)})
    assert kernel.prog["max_pfn"].value_() == 0x1234
    assert kernel.prog["modules"].type_.type_name() == "struct list_head"


def test_what_has_no_row_or_no_symbol_is_unknown() -> None:
    kernel = FakeKernel()
    kernel.attach({"no_row": 0x1000})
    for name in ("no_row", "min_low_pfn", "PG_no_such"):
        with pytest.raises(KeyError):
            kernel.prog[name]


def test_a_row_whose_type_this_kernel_lacks_is_unknown() -> None:
    kernel = FakeKernel()
    kernel.attach({"init_task": 0x1000})
    with pytest.raises(KeyError):
        kernel.prog["init_task"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [({}, "void *[8192]"), ({"stack_max_pools": 0x2000}, "void **")],
    ids=["6.12", "6.17"],
)
def test_the_newest_type_that_fits_is_taken(more: dict[str, int], expected: str) -> None:
    kernel = FakeKernel()
    kernel.attach({"stack_pools": 0x1000, **more})
    assert kernel.prog["stack_pools"].type_.type_name() == expected


def test_enumerators_functions_and_per_cpu_variables() -> None:
    kernel = FakeKernel()
    kernel.attach({"do_read": 0x5000, "per_cpu_word": 0x300})
    prog = kernel.prog
    assert prog.constant("MODULE_STATE_UNFORMED").value_() == 3
    assert prog["MODULE_STATE_LIVE"].value_() == 0
    assert prog.function("do_read").address_ == 0x5000
    assert prog.variable("per_cpu_word").address_ == 0x300
    with pytest.raises(LookupError):
        prog.variable("do_read")
    with pytest.raises(LookupError):
        prog.constant("per_cpu_word")


def test_each_global_has_one_row() -> None:
    assert not SAME.keys() & CHANGED.keys()
    assert all(rows for rows in CHANGED.values())
