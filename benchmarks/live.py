# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inside a guest: `report` of the running kernel beside `cat /sys/kernel/debug/page_owner`.

    python -m benchmarks.live

The guest has 2 GiB, more than 100,000 records, and this machine's file system as its root, read-only. It is
emulated, the kernel's code as well as ours. Of the kernel's text only WORDS records are read, each with a
read(2) of its own, as cat does it: from the middle of memory on, since the first have hardly any stack.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pageowner
from lab import guest_python, guests

WORDS, MIDDLE_PFN = 10_000, 1 << 16
SCRIPT = """
dd if=/dev/zero of=/tmp/filling bs=1M count=640 2>/dev/null
now() {{ cut -d' ' -f1 /proc/uptime; }}
{python} -m pageowner layers --demo > /dev/null 2>&1
echo start $(now)
{python} -m pageowner layers -k > /dev/null 2>&1
echo start-end $(now)
{python} -m pageowner report -k > /tmp/report 2> /dev/null
echo report-end $(now)
words=/sys/kernel/debug/page_owner
dd if=$words of=/tmp/words bs=4096 iflag=skip_bytes skip={skip} count={words} 2>/dev/null
echo cat-end $(now)
echo ours $(grep -c ^PFN /tmp/report)
echo theirs $(grep -c ^PFN /tmp/words)
"""


def main() -> None:
    src = Path(pageowner.__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        script = SCRIPT.format(python=sys.executable, words=WORDS, skip=MIDDLE_PFN)
        script = guest_python.environment(src) + script
        output = guests.running(Path(folder), "6.12", script, mib=2048)
    at = {name: float(value) for name, value in (line.split() for line in output.splitlines())}
    if at["status"]:
        raise SystemExit("something failed in the guest")
    begin = at["start-end"] - at["start"]
    ours = at["report-end"] - at["start-end"] - begin
    theirs = at["cat-end"] - at["report-end"]
    per_ours, per_theirs = ours / at["ours"], theirs / at["theirs"]
    print(f"start {begin:.1f} s; report {ours:.1f} s beyond that, {at['ours']:.0f} records")
    print(f"cat page_owner {theirs:.1f} s, {at['theirs']:.0f} records")
    print(
        f"per record: {per_ours * 1e6:.0f} us, {per_theirs * 1e6:.0f} us: ratio {per_theirs / per_ours:.1f}"
    )


if __name__ == "__main__":
    main()
