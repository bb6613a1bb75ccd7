# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that runs, read from outside while its memory changes as fast as it can: twenty scans in a row.

Each is held against what pagemap said inside before and after it, as in live_rounds.py.
"""

from __future__ import annotations

import gc
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from pageowner.sources import SourceSelection
from tests.sources.live_rounds import PAGES_BITS, PFN_MASK, compare, scan

ROUNDS = 20
RECORD = np.dtype([("tgid", "<i8"), ("va", "<i8"), ("entry", "<u8")])


def wait_for(path: Path, seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"the guest did not make {path.name}"
        time.sleep(0.1)


def pagemap(path: Path) -> dict[int, int]:
    """(tgid, page of the address) as one number -> PFN."""
    rows = np.frombuffer(path.read_bytes(), RECORD)
    places = (rows["tgid"] << PAGES_BITS) + (rows["va"] >> 12)
    pfns = (rows["entry"] & PFN_MASK).astype(np.int64)
    return dict(zip(places.tolist(), pfns.tolist(), strict=True))


@pytest.mark.lab
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64")
@pytest.mark.parametrize("version", ["6.12", "6.1"])
def test_what_stays_is_right(tmp_path: Path, version: str) -> None:
    from lab import guests

    changed = []
    with guests.changing(tmp_path, version) as guest:
        wait_for(tmp_path / "ready.0")
        for number in range(ROUNDS):
            found = scan(SourceSelection("qemu", address=str(guest.socket)))
            gc.collect()  # closes the connection: QEMU serves one
            (tmp_path / f"done.{number}").touch()
            wait_for(tmp_path / f"ready.{number + 1}")
            before, after = (pagemap(tmp_path / f"pagemap.{n}") for n in (number, number + 1))
            line = compare(before, found, after)
            print(line)
            assert (line["wrong"], line["steady_but_changed"]) == (0, 0), line
            assert line["failed"] == [] and line["unreadable"] == 0
            assert 500 < int(str(line["steady"])) < int(str(line["pages"]))
            changed.append(line["changed"])
    assert sum(map(int, changed)) > 0
