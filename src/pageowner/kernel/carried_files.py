# SPDX-License-Identifier: LGPL-2.1-or-later
"""What only an open file leads to: files in messages or registered with io_uring, unaccepted connections."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pageowner.kernel.arrays import gather_words
from pageowner.kernel.lists import Walk, walk_chains, walk_lists
from pageowner.kernel.skbuff import AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, TCP_LISTEN, socket_packets
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
_SOCK, _SKB, _REQUEST, _CTX = "struct sock", "struct sk_buff", "struct request_sock", "struct io_ring_ctx"
# SCM_MAX_FD (include/net/scm.h) and IORING_MAX_FIXED_FILES (io_uring/rsrc.c): more is a torn word.
_MOST_IN_MESSAGE, _MOST_REGISTERED = 253, 1 << 20
# FFS_NOWAIT and FFS_ISREG (io_uring/filetable.h), and a third until 6.1
_FILE = ~np.uint64(7)


def carried_files(kernel: Kernel, f_op: U64, private: U64) -> tuple[I64, U64]:
    """(index, ``struct file``) of what the files with these ``f_op`` and ``private_data`` carry.

    Sockets: files sent with SCM_RIGHTS and not received, those to connections that nobody has accepted,
    too; io_urings: registered files. (Not of 5.10's io_uring.)
    """
    sockets, rings = (_rows(kernel, f_op, name) for name in ("socket_file_ops", "io_uring_fops"))
    socket, sock = socks_of(kernel, private[sockets])
    message, in_message = _in_messages(kernel, sock)
    ring, registered = _registered(kernel, private[rings])
    owner = np.concatenate([sockets[socket[message]], rings[ring]])
    file = np.concatenate([in_message, registered])
    return owner[file != 0], file[file != 0]


def socks_of(kernel: Kernel, sockets: U64) -> tuple[I64, U64]:
    """(index, ``struct sock``) of ``struct socket`` *sockets*: its own, and those of connections to it that
    wait for accept(2)."""
    if not len(sockets):  # as in a kernel without CONFIG_NET, which has no such types either
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    rows, ok = kernel.gather(sockets, kernel.dtype("struct socket", {"sk": "sk"}))
    index = np.flatnonzero(ok & (rows["sk"] != 0))
    sock = np.ascontiguousarray(rows["sk"][index])
    listening, waiting = _unaccepted(kernel, sock)
    return np.concatenate([index, index[listening]]), np.concatenate([sock, waiting])


def _unaccepted(kernel: Kernel, socks: U64) -> tuple[I64, U64]:
    fields = {"family": "__sk_common.skc_family", "state": "__sk_common.skc_state", "protocol": "sk_protocol"}
    rows, ok = kernel.gather(socks, kernel.dtype(_SOCK, dict(fields)))
    listens = ok & (rows["state"] == TCP_LISTEN)
    unix = np.flatnonzero(listens & (rows["family"] == AF_UNIX))
    inet = np.isin(rows["family"], (AF_INET, AF_INET6)) & (rows["protocol"] == IPPROTO_TCP)
    tcp = np.flatnonzero(listens & inet)
    queue = np.uint64(kernel.offset(_SOCK, "sk_receive_queue"))
    # Who connects queues a packet whose socket is the new one, or a request that has it.
    found = _connected(kernel, unix, walk_lists(kernel, socks[unix] + queue), _SKB)
    if len(tcp):  # else perhaps a kernel without CONFIG_INET
        more = _connected(kernel, tcp, _requests(kernel, socks[tcp]), _REQUEST)
        found = np.concatenate([found[0], more[0]]), np.concatenate([found[1], more[1]])
    return found


def _requests(kernel: Kernel, socks: U64) -> Walk:
    head = {"first": "icsk_accept_queue.rskq_accept_head"}
    first, ok = kernel.gather(socks, kernel.dtype("struct inet_connection_sock", dict(head)))
    return walk_chains(kernel, np.where(ok, first["first"], 0), kernel.offset(_REQUEST, "dl_next"))


def _connected(kernel: Kernel, listening: I64, queued: Walk, type_name: str) -> tuple[I64, U64]:
    rows, ok = kernel.gather(queued.node, kernel.dtype(type_name, {"sk": "sk"}))
    there = ok & (rows["sk"] != 0)
    return listening[queued.owner[there]], rows["sk"][there]


def _in_messages(kernel: Kernel, socks: U64) -> tuple[I64, U64]:
    """(index of the socket, file) of SCM_RIGHTS in ``UNIXCB(skb).fp``."""
    if not kernel.has_member("struct unix_skb_parms", "fp"):
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    rows, ok = kernel.gather(socks, kernel.dtype(_SOCK, {"family": "__sk_common.skc_family"}))
    unix = np.flatnonzero(ok & (rows["family"] == AF_UNIX))
    owner, packet = socket_packets(kernel, socks[unix])
    at = kernel.offset(_SKB, "cb") + kernel.offset("struct unix_skb_parms", "fp")
    lists, ok = kernel.gather(packet + np.uint64(at), np.dtype("<u8"))
    owner, lists = owner[ok & (lists != 0)], lists[ok & (lists != 0)]
    rows, ok = kernel.gather(lists, kernel.dtype("struct scm_fp_list", {"n": "count"}))
    count = np.where(ok & (rows["n"] > 0) & (rows["n"] <= _MOST_IN_MESSAGE), rows["n"], 0)
    first = lists + np.uint64(kernel.offset("struct scm_fp_list", "fp"))
    which, _, file = gather_words(kernel, first, count)
    return unix[owner[which]], file


def _registered(kernel: Kernel, contexts: U64) -> tuple[I64, U64]:
    """(index of the context, file) of IORING_REGISTER_FILES and of direct descriptors."""
    if kernel.has_member(_CTX, "file_table.data.nodes"):  # 6.13
        fields = {"list": "file_table.data.nodes", "n": "file_table.data.nr"}
    elif kernel.has_member(_CTX, "file_table.files"):
        fields = {"list": "file_table.files", "n": "nr_user_files"}
    else:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    rows, ok = kernel.gather(contexts, kernel.dtype(_CTX, dict(fields)))
    count = np.where(ok & (rows["n"] <= _MOST_REGISTERED), rows["n"], 0)
    owner, _, word = gather_words(kernel, rows["list"], count)
    if "file_table.data.nodes" in fields.values():
        node, ok = kernel.gather(word, kernel.dtype("struct io_rsrc_node", {"file": "file_ptr"}))
        word = np.where(ok & (word != 0), node["file"], 0)
    return owner, word & _FILE


def _rows(kernel: Kernel, f_op: U64, operations: str) -> I64:
    address = kernel.address(operations)
    return np.flatnonzero(f_op == np.uint64(address)) if address else np.empty(0, np.int64)
