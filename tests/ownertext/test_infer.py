# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stacks tell, beside what the same pages are by the kernel's own structures."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from pageowner.ownertext.infer import guess
from pageowner.ownertext.read import read_text
from tests.ownertext.texts import SLAB_STACK, STACK


def stack(*functions: str) -> bytes:
    return b"".join(b" %s+0x1/0x2\n" % name.encode() for name in functions)


@pytest.mark.parametrize(
    ("frames", "word", "owner"),
    [
        (STACK, "ANON_PAGE", "do_anonymous_page+0x52"),
        (SLAB_STACK, "SLAB_PAGE", "brd_alloc+0x1ac [brd]"),
        (b"", "NO_STACK_PAGE", "no stack"),
        (
            stack("prep_new_page", "__vmalloc_node_range", "vmalloc", "xt_alloc"),
            "VMALLOC_PAGE",
            "xt_alloc+0x1",
        ),
        (stack("__vmalloc_node_range", "alloc_thread_stack_node", "fork"), "KERNEL_STACK_PAGE", None),
        (stack("alloc_pages", "pte_alloc_one", "__pte_alloc"), "PAGE_TABLE_PAGE", "pte_alloc_one+0x1"),
        (stack("alloc_pages", "filemap_alloc_folio", "page_cache_ra_unbounded"), "FILE_PAGE", None),
        (stack("alloc_pages", "my_probe", "really_probe"), "ALLOC_PAGE", "my_probe+0x1"),
        # A driver's page is not anonymous because a fault was on the stack.
        (stack("alloc_pages", "my_fault", "vm_op", "x", "do_fault"), "ALLOC_PAGE", "my_fault+0x1"),
        (b" 0xffffffff81000000\n", "ALLOC_PAGE", "0xffffffff81000000"),
    ],
)
def test_what_a_stack_tells(frames: bytes, word: str, owner: str | None) -> None:
    found = guess(frames)
    assert found.word == word and owner in (None, found.owner)


def test_modules_are_those_of_the_first_frame_that_is_in_one() -> None:
    assert guess(SLAB_STACK).module == "brd" and guess(STACK).module == ""


def test_stacks_tell_what_structures_tell(capture: Any) -> None:
    """99 of 100 pages, but for those from before page_owner was up, whose stacks say nothing."""
    from pageowner.reporters.report_text import report_bytes
    from pageowner.snapshot.report import Selection, report_tables
    from pageowner.snapshot.scan import open_scan
    from pageowner.sources import open_core

    scan = open_scan(open_core(capture.core))
    text = read_text(report_bytes(table) for table in report_tables(scan, Selection()))
    guessed = text.stacks.select("stack", pl.col("word").alias("guess"))
    rows = text.records.join(guessed, on="stack").filter(pl.col("guess") != "EARLY_PAGE")
    if not rows.height:
        pytest.skip("this kernel ran without page_owner")
    # What no stack can tell: a file of a block device, read by a fault as any; what is left of the huge page
    # that modules are cut from (7.2).
    alike = pl.struct("word", "guess").is_in(
        [{"word": "BDEV_PAGE", "guess": "FILE_PAGE"}, {"word": "VMALLOC_PAGE", "guess": "MODULE_PAGE"}]
    )
    same = rows.filter((pl.col("word") == pl.col("guess")) | alike)
    assert same["n"].sum() >= 0.99 * rows["n"].sum()
