# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs inside a guest (test_live.py): scans in a row, each held against pagemap before and after it.

    live_rounds.py ROUNDS OUT PROGRAM

PROGRAM is what changes memory meanwhile (lab/guest/busy.c); while pagemap is read, it is stopped.
A page that every process has at the same place before and after was there meanwhile: our mappings must
have it, and it must not count as changed. OUT gets one JSON object per line and scan.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback

import numpy as np
import numpy.typing as npt

from pageowner.kernel.mapping import expand
from pageowner.kernel.process_memory import ProcessMemory, read_process_memory
from pageowner.snapshot.scan import Unknown, open_scan
from pageowner.snapshot.stability import REASON
from pageowner.sources import SourceSelection, open_source

I64 = npt.NDArray[np.int64]
Found = tuple[set[tuple[int, int]], set[int], dict[str, object]]
PRESENT, PFN_MASK = np.uint64(1 << 63), np.uint64((1 << 55) - 1)
# User addresses have 47 bits where nobody asks for more, tgids 22.
PAGES_BITS = 35


def pagemap() -> dict[int, int]:
    """(tgid, page of the address) as one number -> PFN, of every process but this one."""
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                found.update(pagemap_of(int(name)))
            except OSError:
                continue  # it has ended
    return found


def pagemap_of(tgid: int) -> dict[int, int]:
    found: dict[int, int] = {}
    with open(f"/proc/{tgid}/maps") as maps, open(f"/proc/{tgid}/pagemap", "rb", buffering=0) as file:
        for line in maps:
            start, end = (int(word, 16) >> 12 for word in line.split(" ", 1)[0].split("-"))
            if end >> PAGES_BITS:
                continue  # the vsyscall page
            words = np.frombuffer(os.pread(file.fileno(), (end - start) * 8, start * 8), np.uint64)
            at = np.flatnonzero(words & PRESENT)
            pages = (tgid << PAGES_BITS) + start + at
            found.update(zip(pages.tolist(), (words[at] & PFN_MASK).astype(np.int64).tolist(), strict=True))
    return found


def ours(memory: ProcessMemory) -> tuple[I64, I64]:
    """Our mappings in the same form: (tgid, page of the address) and PFN, sorted."""
    found = memory.mappings.of_blocks(np.array([0]), np.array([1 << 40]))
    row, nth = expand(np.zeros(len(found), np.int64), np.maximum(found.n, found.repeat))
    place = (found.va[row] >> np.uint64(12)).astype(np.int64) + nth
    pfn = found.pfn[row] + np.where(found.repeat[row] > 1, 0, nth)
    first = np.searchsorted(memory.mms.pair_mm, found.mm[row])
    last = np.searchsorted(memory.mms.pair_mm, found.mm[row], side="right")
    which, tgid_row = expand(first, last)
    return (memory.mms.pair_tgid[tgid_row] << PAGES_BITS) + place[which], pfn[which]


def scan(selection: SourceSelection) -> Found:
    """Our mappings, the PFNs that changed, and the scan's coverage."""
    kernel = open_source(selection)
    assert kernel.live
    looking = open_scan(kernel)
    changed: set[int] = set()
    for section in looking.run():
        unknown = looking.unknown.layer
        assert isinstance(unknown, Unknown)
        if REASON not in unknown.reasons or looking.unknown.number not in section.claims:
            continue
        key = section.claims[looking.unknown.number].key
        mine = np.flatnonzero(section.layer == looking.unknown.number)
        mine = mine[key[section.claim[mine]] == unknown.reasons.index(REASON)]
        changed.update(section.pages.pfn[mine].tolist())
    places, pfns = ours(kernel.memo(read_process_memory))
    failed = [f"{run.word} {run.failed}" for run in looking.runs if run.failed]
    coverage = {**vars(looking.coverage), "failed": failed}
    return set(zip(places.tolist(), pfns.tolist(), strict=True)), changed, coverage


def name_of(tgid: int) -> str:
    try:
        with open(f"/proc/{tgid}/comm") as file:
            return file.read().strip()
    except OSError:
        return "gone"


def compare(before: dict[int, int], found: Found, after: dict[int, int]) -> dict[str, object]:
    """Of the pages that stayed: how many a scan has wrong, and how many it says have changed."""
    mappings, changed, coverage = found
    steady = {(place, pfn) for place, pfn in before.items() if after.get(place) == pfn}
    missed = sorted(steady - mappings)
    counted = sorted((place, pfn) for place, pfn in steady if pfn in changed)
    return {
        **coverage,
        "pages": len(before),
        "steady": len(steady),
        "wrong": len(missed),
        "steady_but_changed": len(counted),
        "examples": [
            f"{kind} pid {place >> PAGES_BITS} 0x{(place & (1 << PAGES_BITS) - 1) << 12:x} pfn {pfn}"
            for kind, rows in (("wrong", missed), ("changed", counted))
            for place, pfn in rows[:10]
        ],
    }


def one_round(group: int, before: dict[int, int]) -> tuple[dict[str, object], dict[int, int]]:
    """What came of one scan, and pagemap after it: before the next, for nothing happens between."""
    os.killpg(group, signal.SIGCONT)
    try:
        found = scan(SourceSelection())
    finally:
        os.killpg(group, signal.SIGSTOP)
    time.sleep(0.2)  # until the last has met the signal
    after = pagemap()
    return compare(before, found, after), after


def main() -> None:
    rounds, out, program = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    # A scan is nice, and must not wait for what it looks at: the other CPU is for it.
    line = ["taskset", "2", "nice", "-n", "15", program]
    busy = subprocess.Popen(line, start_new_session=True, stdout=subprocess.PIPE)
    assert busy.stdout is not None and busy.stdout.readline() == b"busy\n"
    time.sleep(1)
    os.killpg(busy.pid, signal.SIGSTOP)
    before, found = pagemap(), dict[str, object]()
    with open(out, "w") as file:
        for _ in range(rounds):
            try:
                found, before = one_round(busy.pid, before)
            except Exception:  # whatever it is, the test shall show it
                found = {"traceback": traceback.format_exc()}
            print(json.dumps(found), file=file, flush=True)
    os.killpg(busy.pid, signal.SIGCONT)  # for what the guest does next


if __name__ == "__main__":
    main()
