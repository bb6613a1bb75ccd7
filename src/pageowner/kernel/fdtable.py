# SPDX-License-Identifier: LGPL-2.1-or-later
"""Open files of all processes, in bulk (struct files_struct, fdtable and file; fs/file.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.arrays import gather_narrow, gather_words
from pageowner.kernel.carried_files import carried_files
from pageowner.kernel.target import Kernel
from pageowner.kernel.task import Tasks, read_tasks

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
# sysctl_nr_open is 2^20 unless raised (fs/file.c); more than this is a torn word.
LONGEST_TABLE = 1 << 22
# MAX_RECURSION_LEVEL (net/unix/af_unix.c): a socket sent through a socket that was sent, and so on.
DEEPEST = 4


@dataclass(frozen=True)
class Holder:
    """Who has a file open: the lowest pid of those, its name, and the descriptor."""

    pid: int
    comm: str
    fd: int


@dataclass(frozen=True)
class OpenFiles:
    """Every open file once, by address; all arrays of one length.

    ``file``, ``f_op``, ``inode``, ``private`` (uint64, as stored), ``pid`` (tgid) and ``fd`` (int64) of
    its first holder. ``unreadable`` counts tables and files that could not be read.
    """

    file: U64
    f_op: U64
    inode: U64
    private: U64
    pid: I64
    fd: I64
    comm: dict[int, str]
    unreadable: int

    def __len__(self) -> int:
        return len(self.file)

    def of(self, kernel: Kernel, *operations: str) -> npt.NDArray[np.intp]:
        """Rows of the files whose ``f_op`` is the symbol of any of these names."""
        known = [kernel.address(name) for name in operations]
        return np.flatnonzero(np.isin(self.f_op, np.array([a for a in known if a is not None], np.uint64)))

    def holder(self, row: int) -> Holder:
        pid = int(self.pid[row])
        return Holder(pid, self.comm.get(pid, ""), int(self.fd[row]))


def read_open_files(kernel: Kernel) -> OpenFiles:
    """All files that any thread's descriptors lead to, and what these carry: files in messages that nobody
    has received, and those registered with an io_uring, count as who has the socket or the ring open.

    Not those that only the kernel has open.
    """
    tasks = kernel.memo(read_tasks)
    pids, comm, first_of = _holders(tasks)
    tables, lost = _tables(kernel, first_of)
    owner, fd, file = gather_words(kernel, tables["fd"], tables["max"])
    rows, unreadable = _files(kernel, file, pids[owner], fd)
    parts, known = [rows], rows["file"]
    for _ in range(DEEPEST):
        carrier, file = carried_files(kernel, rows["f_op"], rows["private"])
        new = ~np.isin(file, known)
        if not new.any():
            break
        rows, more = _files(kernel, file[new], rows["pid"][carrier[new]], rows["fd"][carrier[new]])
        parts, known, unreadable = [*parts, rows], np.union1d(known, file[new]), unreadable + more
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows["file"])]
    columns = {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()}
    return OpenFiles(**columns, comm=comm, unreadable=lost + unreadable)


def _files(kernel: Kernel, file: U64, pid: I64, fd: I64) -> tuple[npt.NDArray[Any], int]:
    """Each of *file* once, with the lowest of its pids and descriptors; and how many are unreadable."""
    order = np.argsort(pid << 32 | fd, kind="stable")
    unique, first = np.unique(file[order], return_index=True)
    rows, ok = gather_narrow(kernel, unique, _file_dtype(kernel))
    kinds = [(name, "<u8") for name in ("file", "f_op", "inode", "private")] + [("pid", "<i8"), ("fd", "<i8")]
    out = np.zeros(int(ok.sum()), np.dtype(kinds))
    for name in ("f_op", "inode", "private"):
        out[name] = rows[name][ok]
    out["file"], out["pid"], out["fd"] = unique[ok], pid[order[first]][ok], fd[order[first]][ok]
    return out, int((~ok).sum())


def _holders(tasks: Tasks) -> tuple[I64, dict[int, str], U64]:
    """(tgid, comm by tgid, address) of each distinct ``files_struct``, which many threads share."""
    rows = tasks.rows
    leaders = tasks.leaders
    comm = {int(rows["tgid"][row]): tasks.comm[row] for row in leaders.tolist()}
    files, first = np.unique(rows["files"], return_index=True)
    pids = rows["tgid"][first].astype(np.int64)
    return pids[files != 0], comm, files[files != 0]


def _tables(kernel: Kernel, files: U64) -> tuple[npt.NDArray[Any], int]:
    """The fdtable of each files_struct: rows with ``fd`` (address of the array) and ``max_fds``."""
    heads, ok = kernel.gather(files, kernel.dtype("struct files_struct", {"fdt": "fdt"}))
    dtype = kernel.dtype("struct fdtable", {"fd": "fd", "max": "max_fds"})
    rows, ok_table = kernel.gather(heads["fdt"], dtype)
    good = ok & ok_table & (rows["max"] <= LONGEST_TABLE)
    out = np.zeros(len(files), np.dtype([("fd", "<u8"), ("max", "<i8")]))
    out["fd"] = np.where(good, rows["fd"], 0)
    out["max"] = np.where(good, rows["max"], 0)
    return out, int((~good).sum())


def _file_dtype(kernel: Kernel) -> np.dtype[Any]:
    return kernel.dtype("struct file", {"f_op": "f_op", "inode": "f_inode", "private": "private_data"})
