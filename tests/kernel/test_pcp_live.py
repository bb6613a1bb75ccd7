"""Per-CPU lists of a kernel that runs: a walk that strays onto an LRU list must not call its pages free."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from pageowner.kernel.pcp import read_pcp
from pageowner.kernel.sections import read_sections
from pageowner.snapshot.tables import take_snapshot
from pageowner.sources import open_core
from tests.conftest import Capture
from tests.plant import Planter


def test_a_page_that_leaves_while_the_list_is_walked(capture: Capture, tmp_path: Path) -> None:
    """What a reader sees when the last page is taken between two reads: its link leads to where it is now."""
    shutil.copy(capture.core, tmp_path / "core")
    kernel = open_core(tmp_path / "core")
    before = read_pcp(kernel)
    link = kernel.offset("struct page", "lru")
    pages = take_snapshot(kernel, pages=True).pages
    cached = int(pages.filter(pages["word"] == "FILE_PAGE")["pfn"][0])  # is on an LRU list
    frames = np.array([int(before.pfn[before.order == 0][-1]), cached])
    left, on_lru = kernel.memo(read_sections).page_address(frames).tolist()
    planter = Planter(tmp_path / "core", kernel)
    planter.word(left + link, on_lru + link)
    planter.close()
    assert len(read_pcp(kernel).pfn) > len(before.pfn)  # a dump is told as it is
    kernel.live = True
    live = read_pcp(kernel)
    assert set(live.pfn.tolist()) == set(before.pfn.tolist())
