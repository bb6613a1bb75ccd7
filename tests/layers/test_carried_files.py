# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that no descriptor leads to any more: a pipe is planted into a message that nobody has received."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pageowner.kernel.arrays import gather_words
from pageowner.kernel.carried_files import socks_of
from pageowner.kernel.fdtable import OpenFiles, read_open_files
from pageowner.kernel.skbuff import AF_UNIX, socket_packets
from pageowner.kernel.target import Kernel
from pageowner.kernel.task import read_tasks
from pageowner.sources import open_core
from tests.plant import Planter

PIPES = ("pipefifo_fops", "pipeanon_fops")


def unix_message(kernel: Kernel, files: OpenFiles) -> tuple[int, int, int]:
    """(row of the socket's file, ``struct sk_buff``, its buffer) of a message in a unix socket's queue."""
    rows = files.of(kernel, "socket_file_ops")
    index, socks = socks_of(kernel, files.private[rows])
    family, _ = kernel.gather(socks, kernel.dtype("struct sock", {"is": "__sk_common.skc_family"}))
    owner, packet = socket_packets(kernel, socks)
    at = int(np.flatnonzero(family["is"][owner] == AF_UNIX)[0])
    head, _ = kernel.gather(packet[at : at + 1], kernel.dtype("struct sk_buff", {"at": "head"}))
    return int(rows[index[owner[at]]]), int(packet[at]), int(head["at"][0])


def close_everywhere(kernel: Kernel, planter: Planter, file: int) -> None:
    """Take *file* out of all tables of descriptors."""
    tables, _ = kernel.gather(
        np.unique(read_tasks(kernel).rows["files"]), kernel.dtype("struct files_struct", {"fdt": "fdt"})
    )
    rows, ok = kernel.gather(
        tables["fdt"], kernel.dtype("struct fdtable", {"fd": "fd", "n": "max_fds"})
    )
    owner, number, found = gather_words(kernel, rows["fd"], np.where(ok, rows["n"], 0))
    for at in np.flatnonzero(found == file).tolist():
        planter.word(int(rows["fd"][owner[at]]) + 8 * int(number[at]), 0, 8)


def test_a_pipe_in_a_message_is_who_can_receive_it_has(core_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "core"
    shutil.copyfile(core_path, copy)
    copy.chmod(0o600)
    kernel = open_core(copy)
    if not kernel.has_member("struct unix_skb_parms", "fp"):
        pytest.skip("this kernel has no type of what unix sockets keep in a message")
    files = read_open_files(kernel)
    pipe = int(files.of(kernel, *PIPES)[0])
    socket, packet, buffer = unix_message(kernel, files)
    planter = Planter(copy, kernel)
    close_everywhere(kernel, planter, int(files.file[pipe]))
    place = kernel.offset("struct sk_buff", "cb") + kernel.offset("struct unix_skb_parms", "fp")
    planter.word(packet + place, buffer, 8)
    planter.word(buffer + kernel.offset("struct scm_fp_list", "count"), 1, 2)
    planter.word(buffer + kernel.offset("struct scm_fp_list", "fp"), int(files.file[pipe]), 8)
    planter.close()
    now = read_open_files(open_core(copy))
    (row,) = np.flatnonzero(now.file == files.file[pipe]).tolist()
    assert now.private[row] == files.private[pipe]
    assert (now.pid[row], now.fd[row]) == (files.pid[socket], files.fd[socket])
    assert set(now.file.tolist()) == set(files.file.tolist())
