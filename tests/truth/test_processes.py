"""RSS and PSS of every process against its smaps_rollup."""

from __future__ import annotations

import re
from typing import Any

from pageowner.kernel.process_memory import read_process_memory
from pageowner.snapshot.tables import take_snapshot
from pageowner.sources import open_core

ROLLUP = re.compile(r"==> /proc/(\d+)/smaps_rollup <==\n(.*?)(?=\n==>|\Z)", re.S)

STATUS = re.compile(r"==> /proc/(\d+)/status <==\n(.*?)(?=\n==>|\Z)", re.S)


def rollups(text: str) -> dict[int, dict[str, int]]:
    """The fields of each process's smaps_rollup, in kB."""
    return {
        int(pid): {k: int(v) for k, v in re.findall(r"^(\w+): +(\d+) kB", body, re.M)}
        for pid, body in ROLLUP.findall(text)
    }


def test_rss_and_pss_of_every_process(capture: Any) -> None:
    kernel = open_core(capture.core)
    grouping = take_snapshot(kernel, by=["process"]).groupings["process"]
    by_first = {int(name.split()[1]): row for name, *row in grouping.iter_rows()}
    mms = kernel.memo(read_process_memory).mms
    # An address space that several processes share is one row, under the lowest pid.
    shared = zip(mms.pair_tgid.tolist(), mms.lowest_tgid[mms.pair_mm].tolist(), strict=True)
    ours = {tgid: by_first[first] for tgid, first in shared if first in by_first}
    theirs = {pid: fields for pid, fields in rollups(capture.text("proc.txt")).items() if fields.get("Rss")}
    status = {int(pid): "\n" + body for pid, body in STATUS.findall(capture.text("proc.txt"))}
    assert len(theirs) > 25
    for pid, fields in theirs.items():
        if pid == 1 or "\nName:\tw_poison\n" in status[pid]:
            # The first saved the files. smaps counts a poisoned entry as memory, which it no longer is.
            continue
        rss, pss, uss, huge = ours[pid]
        assert rss * 4 == fields["Rss"], pid
        assert huge * 4 == fields["Shared_Hugetlb"] + fields["Private_Hugetlb"], pid
        assert uss * 4 == fields["Private_Clean"] + fields["Private_Dirty"], pid
        # The kernel rounds each page's share down to bytes.
        assert abs(pss * 4 - fields["Pss"]) <= 4, pid
