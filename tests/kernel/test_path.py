# SPDX-License-Identifier: LGPL-2.1-or-later
"""Path names and mounts against /proc/PID/mountinfo and the workload's own names."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
import pytest

from pageowner.kernel.address_space import AddressSpaces
from pageowner.kernel.fdtable import read_open_files
from pageowner.kernel.memmap import read_pages
from pageowner.kernel.path import Paths
from pageowner.kernel.sections import read_sections
from pageowner.kernel.swap import read_shmem_swaps, read_swap_areas
from pageowner.kernel.target import Kernel
from pageowner.kernel.units import read_layout
from pageowner.sources import open_core


@pytest.fixture(scope="module")
def kernel(capture: Any) -> Kernel:
    return open_core(capture.core)


def unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)


def test_mounts_are_those_of_mountinfo(capture: Any, kernel: Kernel) -> None:
    wanted = set()
    for line in capture.text("mountinfo.txt").splitlines():
        left, right = (part.split() for part in line.split(" - "))
        major, minor = left[2].split(":")
        wanted.add((int(major) << 20 | int(minor), unescape(left[3]), unescape(left[4]), right[0]))
    table = kernel.memo(Paths).table
    # 7.0 has an empty file system under the root, where no process gets.
    first = table.filter((pl.col("ns") == table["ns"][0]) & (pl.col("fstype") != "nullfs"))
    assert set(first.select("dev", "root", "path", "fstype").rows()) == wanted
    assert first.height == len(wanted)


def page_mapping(kernel: Kernel, pfn: int) -> int:
    section = kernel.memo(read_sections).between(pfn, pfn)[0]
    pages = read_pages(kernel, kernel.memo(read_layout), section)
    head = int(pages.head[pfn - section.start])
    return int(pages.heads.mapping[head])


def test_paths_of_files_of_the_workload(capture: Any, kernel: Kernel) -> None:
    """Each page's inode has the path under which the workload made it."""
    paths, checked = kernel.memo(Paths), set()
    for line in capture.text("truth.txt").splitlines():
        fields = dict(re.findall(r"(\w+)=(\S+)", line))
        anon = fields.get("kind") in ("file_cow", "overlay_cow")
        if "path" not in fields or fields.get("pfn", "none") == "none" or anon:
            continue
        if fields["path"] in checked or fields["path"].startswith("/dev/"):
            continue
        checked.add(fields["path"])
        mapping = page_mapping(kernel, int(fields["pfn"], 16))
        inode = kernel.memo(AddressSpaces).describe(np.array([mapping], np.uint64))["inode"].to_numpy()
        deleted = " (deleted)" if fields.get("nlink") == "0" else ""
        assert paths.of_inodes(inode) == [unescape(fields["path"]) + deleted]
    assert len(checked) >= 8


def test_paths_of_open_files(capture: Any, kernel: Kernel) -> None:
    """As opened: through an overlay the name is the overlay's, and shared memory is on no mount."""
    files = kernel.memo(read_open_files)
    paths = set(kernel.memo(Paths).of_files(files.file))
    assert {"/dev/null", "/disk/shared", "/merged/new", "/tmp/child/unmapped", "memfd:lab data"} <= paths
    assert files.unreadable == 0


def test_no_inode_no_path(kernel: Kernel) -> None:
    nothing = np.array([0, 0xDEAD000000000100, 0xFFFF_FFFF_FFFF_F000], np.uint64)
    assert kernel.memo(Paths).of_inodes(nothing) == ["", "", ""]


def test_swap_areas_are_those_of_proc_swaps(capture: Any, kernel: Kernel) -> None:
    # Linux shows the size without the header's page.
    wanted = {
        (line.split()[0], int(line.split()[2]) >> 2) for line in capture.text("swaps.txt").splitlines()[1:]
    }
    assert {(area.path, area.pages) for area in read_swap_areas(kernel).values()} == wanted


def test_shmem_slots_are_those_of_the_file(capture: Any, kernel: Kernel) -> None:
    swapped = [line for line in capture.text("truth.txt").splitlines() if "kind=swap_shmem " in line]
    swaps = kernel.memo(read_shmem_swaps)
    names = kernel.memo(AddressSpaces).names(np.unique(swaps.inode))
    assert len(swaps.entry) == len(swapped) > 0 and names == ["memfd:swapped"]
    assert sorted(swaps.index.tolist()) == list(range(4, 16))
