# SPDX-License-Identifier: LGPL-2.1-or-later
"""python3 -m tests.figures DIR…: what of each capture equals the kernel's own word: docs/kernels.md."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests import deviations
from tests.conftest import Capture, capture_dirs
from tests.kernel.test_pagetable_truth import PFN_MASK, PRESENT, busy, opened, ours, pagemap, told
from tests.layers.painted import paint
from tests.ownertext.kernel_words import read_core, take_apart
from tests.ownertext.test_kernel_text import steady
from tests.truth.test_system_files import ALLOWED, REST, cells
from tests.truth.test_truth_lines import KINDS, truths


def records(capture: Capture) -> str:
    """Records equal in every line (volatile flags aside) of those that both have; on one side only."""
    theirs, mine = take_apart(capture.read("page_owner.txt")), take_apart(read_core(capture.core).text)
    volatile = deviations.load()["flags"].values
    both = theirs.keys() & mine.keys()
    forgets = deviations.load()["memcg"].allows(capture.version)
    equal = 0
    for key in both:
        one, two = theirs[key], mine[key]
        lines = (one.header, one.place, one.frames, one.migrated) == (
            two.header, two.place, two.frames, two.migrated,
        )  # fmt: skip
        charged = one.charged == two.charged or (forgets and not one.charged)
        equal += lines and charged and steady(one.flags, volatile) == steady(two.flags, volatile)
    return f"{equal} of {len(both)}; {len(theirs.keys() ^ mine.keys())} apart"


def mappings(capture: Capture) -> str:
    """Pages mapped by every process but those that save."""
    world, entries = opened(str(capture.core)), pagemap(capture)
    mine, left_out, equal, total = ours(world), busy(world), 0, 0
    for mm, tgid in zip(world.mms.pair_mm.tolist(), world.mms.pair_tgid.tolist(), strict=True):
        rows = entries[(entries["tgid"] == tgid) & (entries["entry"] & PRESENT != 0)]
        theirs = dict(zip(rows["va"].tolist(), (rows["entry"] & PFN_MASK).tolist(), strict=True))
        if tgid not in left_out and theirs:
            found = told(world, mm, mine.get(mm, {}), theirs)
            total += len(theirs.keys() | found.keys())
            equal += sum(found.get(va) == pfn for va, pfn in theirs.items())
    return f"{equal} of {total}"


def kinds(capture: Capture) -> tuple[str, str, str]:
    """Pages whose kind fits kpageflags; the workload's lines; counters explained."""
    painted = paint(capture.core)
    flags = np.frombuffer(capture.read("kpageflags.bin"), np.uint64)
    pages = painted.pages.filter(painted.pages["pfn"] < len(flags))
    names = cells(flags[pages["pfn"].to_numpy()])
    fits = sum(name in ALLOWED.get(word, REST) for word, name in zip(pages["word"], names, strict=True))
    word = dict(painted.pages.select("pfn", "word").iter_rows())
    lines = [truth for truth in truths(capture.text("truth.txt")) if truth.kind in KINDS]
    right = sum(word[truth.pfn] in KINDS[truth.kind] for truth in lines)
    sheet = painted.balance
    zero = int((sheet["unexplained"] == 0).sum())
    return f"{fits} of {pages.height}", f"{right} of {len(lines)}", f"{zero} of {sheet.height}"


def main() -> None:
    for folder in [found for name in sys.argv[1:] for found in capture_dirs(Path(name))]:
        capture = Capture(folder.name, folder, folder / "core")
        row = [capture.version, records(capture), mappings(capture), *kinds(capture)]
        print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
