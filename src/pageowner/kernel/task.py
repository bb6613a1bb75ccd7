# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every thread of the system, as one table (include/linux/sched.h)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.lists import walk_lists
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

PF_KTHREAD = 0x00200000  # include/linux/sched.h, the same since 2.6.27
MAX_CPUS = 8192

# Our column: the member's names, newest first.
FIELDS: dict[str, tuple[str, ...] | str] = {
    "pid": "pid",
    "tgid": "tgid",
    "comm": "comm",
    "start_time": "start_time",
    "flags": "flags",
    "exit_state": "exit_state",
    "mm": "mm",
    "stack": "stack",
    "signal": "signal",
    "files": "files",
}
OPTIONAL: dict[str, tuple[str, ...] | str] = {
    "stack_vm_area": "stack_vm_area",  # CONFIG_VMAP_STACK
    "cgroups": "cgroups",  # CONFIG_CGROUPS: the css_set
}


@dataclass(frozen=True)
class Tasks:
    """All threads, ascending by (tgid, pid); idle tasks (pid 0) first.

    ``rows``: structured array with ``pid`` ``tgid`` (of the initial namespace, as page_owner stores them),
    ``comm`` (S16, raw), ``start_time`` (monotonic ns since boot), ``flags``, ``exit_state``, ``mm``,
    ``stack``, ``signal``, ``files``, and where configured ``stack_vm_area``, ``cgroups``;
    ``address`` uint64[n]. ``broken``: lists that could not be followed to their end; ``unreadable``: tasks
    left out.
    """

    address: U64
    rows: npt.NDArray[Any]
    broken: int
    unreadable: int

    def __len__(self) -> int:
        return len(self.address)

    @cached_property
    def comm(self) -> list[str]:
        """Names, one str per thread; bytes that are not UTF-8 as surrogate escapes."""
        names = self.rows["comm"].tolist()
        return [name.split(b"\0", 1)[0].decode("utf-8", "surrogateescape") for name in names]

    @property
    def is_kthread(self) -> npt.NDArray[np.bool_]:
        mask: npt.NDArray[np.bool_] = (self.rows["flags"] & PF_KTHREAD) != 0
        return mask

    @cached_property
    def leaders(self) -> I64:
        """Row of the first thread of each tgid: the group's leader while it is there."""
        _, first = np.unique(self.rows["tgid"], return_index=True)
        is_leader = np.flatnonzero(self.rows["pid"] == self.rows["tgid"])
        tgids = self.rows["tgid"]
        place = np.searchsorted(tgids[first], tgids[is_leader])
        first[place] = is_leader
        return first


def read_tasks(kernel: Kernel) -> Tasks:
    """All threads of all thread groups on ``init_task.tasks``, and the idle tasks of all CPUs.

    A leader that has exited stays on the list while its threads live, so none is missed.
    """
    dtype = _dtype(kernel)
    init = int(kernel.object("init_task").address_of_())
    tasks = kernel.offset("struct task_struct", "tasks")
    groups = walk_lists(kernel, np.array([init + tasks], np.uint64))
    leaders = groups.node - np.uint64(tasks)
    rows, ok = kernel.gather(leaders, dtype)
    head = kernel.offset("struct signal_struct", "thread_head")
    member = kernel.offset("struct task_struct", "thread_node")
    signals = np.unique(rows["signal"][ok])
    threads = walk_lists(kernel, signals[signals != 0] + np.uint64(head))
    found = np.concatenate([leaders, threads.node - np.uint64(member), _idle(kernel, init)])
    return _table(kernel, np.unique(found), dtype, groups.broken + threads.broken)


def _dtype(kernel: Kernel) -> np.dtype[Any]:
    task = "struct task_struct"
    wanted = FIELDS | {name: names for name, names in OPTIONAL.items() if kernel.has_member(task, name)}
    full = kernel.dtype(task, wanted)
    # The structure ends with the FPU state, some kilobytes that nobody reads here.
    fields: dict[str, Any] = dict(full.fields or {})
    end = max(offset + field.itemsize for field, offset, *_ in fields.values())
    spec = {
        "names": list(fields),
        "formats": [field for field, *_ in fields.values()],
        "offsets": [offset for _, offset, *_ in fields.values()],
        "itemsize": end,
    }
    return np.dtype(spec)  # type: ignore[call-overload,no-any-return]


def _table(kernel: Kernel, address: U64, dtype: np.dtype[Any], broken: int) -> Tasks:
    rows, ok = kernel.gather(address, dtype)
    # A torn list leads to what is no task: pids are small, and a task has a signal_struct.
    pid, tgid = rows["pid"], rows["tgid"]
    sane = ok & (pid >= 0) & (pid <= 1 << 22) & (tgid >= 0) & (tgid <= 1 << 22)
    sane &= rows["signal"] >> np.uint64(63) != 0
    keep = np.flatnonzero(sane)
    keep = keep[np.lexsort((rows["pid"][keep], rows["tgid"][keep]))]
    return Tasks(address[keep], rows[keep], broken, len(address) - len(keep))


def _idle(kernel: Kernel, init: int) -> U64:
    """``init_task`` and the idle tasks of the other CPUs: on no list but in their run queues."""
    try:
        rq = int(kernel.object("runqueues").address_of_())
        idle = kernel.offset("struct rq", "idle")
        cpus = min(int(kernel.object("nr_cpu_ids")), MAX_CPUS)
        offsets = np.array([int(kernel.object("__per_cpu_offset")[cpu]) for cpu in range(cpus)], np.uint64)
    except LookupError:
        return np.array([init], np.uint64)
    pointers, ok = kernel.gather(offsets + np.uint64(rq + idle), np.dtype("<u8"))
    return np.append(pointers[ok & (pointers != 0)], np.uint64(init))
