# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whom pages are charged to, against the kernel's /proc/kpagecgroup and cgroup directories."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from pageowner.kernel.memcg import Memcg, Memcgs
from pageowner.kernel.memmap import page_layout, read_pages
from pageowner.kernel.page_owner import NoRecords, read_page_owner
from pageowner.kernel.sections import read_sections
from pageowner.sources import open_core


def test_every_charge_is_that_of_kpagecgroup(capture: Any) -> None:
    """Inode of the cgroup of every head or single page that is charged, here and there.

    The file is older than the core: what was allocated after it was saved is left out by its record's time.
    """
    kernel = open_core(capture.core)
    sections, memcgs, owner = read_sections(kernel), Memcgs(kernel), read_page_owner(kernel)
    layout, inodes = page_layout(kernel, sections), directories(capture)
    theirs = np.frombuffer(capture.read("kpagecgroup.bin"), "<u8")
    compared, different = 0, []
    for section in sections:
        pages = read_pages(kernel, layout, section)
        words = np.where(pages.rows["word1"] & np.uint64(1), np.uint64(0), pages.rows["memcg"])
        charges = memcgs.charges(words)
        assert charges.lost == 0
        shown = {address: seen_inode(memcg, inodes) for address, memcg in memcgs.get(charges.memcg).items()}
        inode = dict(
            zip(charges.word.tolist(), (shown.get(a, 0) for a in charges.memcg.tolist()), strict=True)
        )
        one = np.array([inode.get(word, 0) for word in words.tolist()], np.uint64)
        two = theirs[section.start : section.start + section.n]
        known = (one[: len(two)] != 0) & (two != 0)
        if not isinstance(owner, NoRecords):
            records = owner.records(section)
            assert records is not None
            if "ts_nsec" in (records.rows.dtype.names or ()):
                known &= records.rows["ts_nsec"][: len(two)] < saved_at(capture)
        compared += int(known.sum())
        different += np.flatnonzero((one[: len(two)] != two) & known).tolist()
    assert compared > 1000
    assert len(different) <= (capture.changes if capture.has("page_owner.txt") else 0)


def directories(capture: Any) -> dict[str, int]:
    """Inode of each cgroup by its path."""
    lines = re.findall(r"^==> /cgroup(\S*) inode (\d+) <==", capture.text("cgroups.txt"), re.MULTILINE)
    return {path or "/": int(inode) for path, inode in lines}


def seen_inode(memcg: Memcg, inodes: dict[str, int]) -> int:
    """What page_cgroup_ino() shows: of a removed cgroup's pages the nearest ancestor that is still there."""
    path = memcg.path
    while not memcg.online and path not in inodes:
        path = path.rsplit("/", 1)[0] or "/"
    return memcg.id if memcg.online else inodes[path]


def saved_at(capture: Any) -> int:
    """When the text of page_owner began to be saved: the first record that the saving process made."""
    text = capture.read("page_owner.txt") if capture.has("page_owner.txt") else b""
    stamps = [int(stamp) for stamp in re.findall(rb"\(save\), ts (\d+) ns", text)]
    return min(stamps, default=1 << 62)


def test_paths_and_ids_are_those_of_the_cgroup_directories(capture: Any) -> None:
    kernel = open_core(capture.core)
    memcgs, sections = Memcgs(kernel), read_sections(kernel)
    layout = page_layout(kernel, sections)
    words = np.concatenate([read_pages(kernel, layout, s).rows["memcg"] for s in sections])
    found = memcgs.get(memcgs.charges(words).memcg).values()
    inodes = directories(capture)
    assert {memcg.path for memcg in found if memcg.online} <= inodes.keys()
    assert [memcg for memcg in found if memcg.online and inodes[memcg.path] != memcg.id] == []
    assert all(memcg.path.rsplit("/", 1)[1] == memcg.name.strip("/") for memcg in found)
    assert "/" in {memcg.path for memcg in found}


def test_a_word_that_leads_nowhere_is_counted_and_silent(capture: Any) -> None:
    memcgs = Memcgs(open_core(capture.core))
    words = np.array([0xFF11_DEAD_0000_0000, 0xFF11_DEAD_0000_0002, 0xFF11_DEAD_0000_0001, 0], np.uint64)
    charges = memcgs.charges(words)
    assert (len(charges.word), charges.lost) == (3, 2)
    assert sorted(memcgs.lines(charges)) == ["", "", "Slab cache page"]
