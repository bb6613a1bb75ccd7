# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dumps as people have them: what makedumpfile 1.7.2 and 1.7.6 make of a crashed 6.12 kernel.

    python3 -m lab.wrongfiles DIR

Written to DIR (tests/fixtures/makedumpfile) as they are, but xz-compressed. The two differ from what
1.7.8 makes of the same crash; by how much is told from the bitmaps of the files, in provenance.json.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

from lab import crash, dumpfile, fixture, kernels

VERSION = "6.12"
WRONG, RIGHT = ("1.7.2", "1.7.6"), "1.7.8"
# Free pages are zeros, so that the one that keeps them is small when compressed.
WORDS = f"page_owner=on crashkernel={crash.RESERVED_MIB}M init_on_free=1"
MIB = 160


def make(out: Path) -> None:
    """Crash a guest, and write vmcore-<version>.xz per wrong version, and provenance.json."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pageowner-lab-") as name:
        work = Path(name)
        raw = crash.crash(VERSION, work / "vmcore", mib=MIB, words=WORDS)
        for version in (*WRONG, RIGHT):
            dumpfile.dump(version, raw, work / version, "-d", "31")
        for version in WRONG:
            fixture.compress(work / version, out / f"vmcore-{version}.xz")
        facts = {
            "kernel": VERSION,
            "origin": kernels.get(VERSION).origin,
            "append": WORDS,
            "mib": MIB,
            "raw_bytes": raw.stat().st_size,
            "files": {version: compare(work / version, work / RIGHT) for version in WRONG},
            "compared_with": RIGHT,
            "made_by": "python3 -m lab.wrongfiles",
        }
    (out / "provenance.json").write_text(json.dumps(facts, indent=1) + "\n")


def compare(wrong: Path, right: Path) -> dict[str, object]:
    """What *wrong* has and lacks beside *right*, in pages."""
    mine, theirs = dumped(wrong), dumped(right)
    return {
        "bytes": wrong.stat().st_size,
        "sha256": hashlib.sha256(wrong.read_bytes()).hexdigest(),
        "pages": int(mine.sum()),
        "lacks": np.flatnonzero(theirs & ~mine).tolist(),
        "has_more": int((mine & ~theirs).sum()),
    }


def dumped(path: Path) -> np.ndarray:
    """bool per PFN: is the page in the kdump-compressed file? Its second bitmap says so."""
    data = path.read_bytes()
    block, sub, bitmaps = struct.unpack_from("<iii", data, 428)
    start, half = (1 + sub) * block, bitmaps * block // 2
    bits = np.frombuffer(data, np.uint8, half, start + half)
    return np.unpackbits(bits, bitorder="little").astype(bool)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
