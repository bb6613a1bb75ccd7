# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel thread that works in a process's address space (kthread_use_mm()) is none of its processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pageowner.kernel.mm import read_mms
from pageowner.kernel.task import read_tasks
from pageowner.sources import open_core
from tests.plant import Planter


@pytest.mark.two_kernels
def test_a_kernel_thread_in_the_memory_of_a_process(core_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "core"
    shutil.copyfile(core_path, copy)
    copy.chmod(0o600)
    kernel = open_core(copy)
    tasks = read_tasks(kernel)
    before = read_mms(kernel, tasks)
    thread = int(tasks.address[np.flatnonzero(tasks.is_kthread)[-1]])
    planter = Planter(copy, kernel)
    planter.word(thread + kernel.offset("struct task_struct", "mm"), int(before.address[0]), 8)
    planter.close()
    again = open_core(copy)
    now = read_tasks(again)
    assert now.rows["mm"][now.address == thread] == before.address[0]
    after = read_mms(again, now)
    assert after.pair_tgid.tolist() == before.pair_tgid.tolist()
    assert after.pair_mm.tolist() == before.pair_mm.tolist()
