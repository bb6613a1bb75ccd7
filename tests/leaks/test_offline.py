# SPDX-License-Identifier: LGPL-2.1-or-later
"""`blockers --unit block` against the kernel: what it says is free of them goes offline, nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lab.planted import Obedient

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64"),
]
SYSFS = "/sys/devices/system/memory"
PIPED = 32 << 12


@pytest.fixture(scope="module", params=["6.12", "6.1"])
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Obedient]:
    """Four blocks without and four with ZONE_MOVABLE, some of it in use, some in a pipe. (KASLR would
    put the kernel into any of them.)"""
    from lab.planted import Obedient

    work: Path = tmp_path_factory.mktemp("guest")
    with Obedient(work, request.param, words="nokaslr movablecore=512M cma=32M", mib=1024) as guest:
        guest.do("plant churn 1")
        for kind, size in (("anon", 20 << 20), ("pipe", PIPED)):
            guest.do(f"plant {kind} {size} & until [ -e /tmp/{kind}.1 ]; do sleep 0.1; done")
        # The first page frames at hand may lie beside memory of the firmware, in a block that never goes.
        for count in range(2, 8):
            if blockers(guest, "block")["blocks"]:
                break
            guest.do(f"kill -USR1 $(pidof leak_pipe); until [ -e /tmp/pipe.{count} ]; do sleep 0.1; done")
        yield guest


def blockers(guest: Obedient, unit: str) -> Any:
    command = ["blockers", "--unit", unit, "--json", "--qemu", str(guest.socket), "--pause"]
    done = subprocess.run([sys.executable, "-m", "pageowner", *command], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def goes_offline(guest: Obedient, name: str) -> bool:
    """Whether the kernel takes it; what cannot be emptied it tries for ever, until a signal."""
    guest.sh(f"timeout 10 sh -c 'echo offline > {SYSFS}/{name}/state'")
    return guest.do(f"cat {SYSFS}/{name}/state").strip() == "offline"


def test_the_kernel_agrees(guest: Obedient) -> None:
    """Block by block; then the one with pages in a pipe once more, when the pipe is gone."""
    found = blockers(guest, "block")
    names = set(guest.do(f"cd {SYSFS}; echo memory*").split())
    piped = Counter(
        f"memory{int(pfn) // found['block_pages']}" for pfn in guest.do("cat /tmp/pipe_pfns").split()
    )
    free, movable, blocked = ({row["name"] for row in found[key]} for key in ("free", "movable", "blocks"))
    fixed = names - free - movable - blocked
    assert free and blocked and len(fixed) == found["fixed_blocks"]
    assert {row["name"]: row["in_the_way"] for row in found["blocks"]} == {
        name: pages for name, pages in piped.items() if name not in fixed
    }
    for one in (one for row in found["blocks"] for one in row["owners"]):
        assert (one["word"], one["why"]) == ("ANON_PAGE", "referenced")
        assert one["owner"].endswith("(leak_pipe)") and "handle_mm_fault" in one["stack"]
    assert len(names) == 8
    assert {name for name in names if goes_offline(guest, name)} == free | movable
    guest.do("kill $(pidof leak_pipe); sleep 1")
    assert blocked == {row["name"] for row in blockers(guest, "block")["movable"]}
    assert all(goes_offline(guest, name) for name in blocked)


def test_a_free_cma_area_can_be_had_as_a_whole(guest: Obedient) -> None:
    area = blockers(guest, "cma")
    whole = area["free"] + area["movable"]
    assert [row["n"] for row in whole] == [8192]
    guest.do(f"echo 8192 > /sys/kernel/debug/cma/{whole[0]['name']}/alloc")
    taken = blockers(guest, "cma")["blocks"][0]
    used = guest.do(f"cat /sys/kernel/debug/cma/{whole[0]['name']}/used")
    assert taken["in_the_way"] == int(used) == 8192
