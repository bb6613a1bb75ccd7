# SPDX-License-Identifier: LGPL-2.1-or-later
"""Socket buffers: the packets that sockets queue, and the pages behind (include/linux/skbuff.h)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.arrays import gather_arrays, walk_trees
from pageowner.kernel.lists import walk_chains, walk_lists
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
_SKB, _SOCK = "struct sk_buff", "struct sock"
# A frag_list's packets have no frag_list again but in odd tunnels.
DEEPEST = 3
MOST_FRAGS = 64
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET = 1, 2, 10, 16, 17
SOCK_STREAM, SOCK_DGRAM, IPPROTO_TCP, IPPROTO_UDP, TCP_LISTEN = 1, 2, 6, 17, 10


def socket_packets(kernel: Kernel, socks: U64) -> tuple[I64, U64]:
    """(index of the socket, address of the sk_buff) of all packets on the queues of ``struct sock`` *socks*.

    Received and not read, to be sent, errors, the backlog; of TCP what is sent and not acknowledged, and
    what came too early; of UDP what a reader has taken over and not read.
    """
    owners, packets = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    udp, tcp = (np.flatnonzero(which) for which in (is_udp(kernel, socks), is_tcp(kernel, socks)))
    everyone = np.arange(len(socks))
    for row, struct, queue in (
        (everyone, _SOCK, "sk_receive_queue"),
        (everyone, _SOCK, "sk_write_queue"),
        (everyone, _SOCK, "sk_error_queue"),
        (udp, "struct udp_sock", "reader_queue"),
    ):
        heads = socks[row] + np.uint64(kernel.offset(struct, queue) if len(row) else 0)
        walk = walk_lists(kernel, heads)  # sk_buff.next comes first, as in a list_head
        owners.append(row[walk.owner])
        packets.append(walk.node)
    rows, ok = kernel.gather(socks, kernel.dtype(_SOCK, {"first": "sk_backlog.head"}))
    chain = walk_chains(kernel, np.where(ok, rows["first"], 0), kernel.offset(_SKB, "next"))
    for tree_of, member in ((_SOCK, "tcp_rtx_queue"), ("struct tcp_sock", "out_of_order_queue")):
        if not len(tcp):  # perhaps a kernel without CONFIG_INET
            break
        roots, ok = kernel.gather(socks[tcp], kernel.dtype(tree_of, {"top": f"{member}.rb_node"}))
        owner, node = walk_trees(kernel, np.where(ok, roots["top"], 0))
        owners.append(tcp[owner])
        packets.append(node - np.uint64(kernel.offset(_SKB, "rbnode")))
    return np.concatenate([*owners, chain.owner]), np.concatenate([*packets, chain.node])


def is_udp(kernel: Kernel, socks: U64) -> npt.NDArray[np.bool_]:
    """Which are UDP sockets."""
    fields = {"family": "__sk_common.skc_family", "type": "sk_type", "protocol": "sk_protocol"}
    rows, ok = kernel.gather(socks, kernel.dtype(_SOCK, dict(fields)))
    inet = np.isin(rows["family"], (AF_INET, AF_INET6))
    return np.asarray(ok & inet & (rows["type"] == SOCK_DGRAM) & (rows["protocol"] == IPPROTO_UDP))


def is_tcp(kernel: Kernel, socks: U64) -> npt.NDArray[np.bool_]:
    """Which are TCP sockets that can have packets (a listening one uses the queues' place otherwise)."""
    fields = {
        "family": "__sk_common.skc_family",
        "state": "__sk_common.skc_state",
        "type": "sk_type",
        "protocol": "sk_protocol",
    }
    rows, ok = kernel.gather(socks, kernel.dtype(_SOCK, dict(fields)))
    inet = np.isin(rows["family"], (AF_INET, AF_INET6))
    stream = (rows["type"] == SOCK_STREAM) & (rows["protocol"] == IPPROTO_TCP)
    return np.asarray(ok & inet & stream & (rows["state"] != TCP_LISTEN))


def packet_pages(kernel: Kernel, packets: U64) -> tuple[I64, U64, U64]:
    """(index of the packet, address of its head, 0) and (index, 0, struct page) of all pieces of *packets*.

    Packets on a packet's ``frag_list`` count as its own.
    """
    index = np.arange(len(packets))
    owners, heads, pages = [np.empty(0, np.int64)], [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for _ in range(DEEPEST):
        if not len(packets):
            break
        head, info = _linear(kernel, packets)
        owners.append(index)
        heads.append(head)
        pages.append(np.zeros_like(head))
        rows, ok = kernel.gather(info, _info_dtype(kernel))
        frags = np.where(ok & (rows["nr"] <= MOST_FRAGS), rows["nr"], 0)
        first = info + np.uint64(kernel.offset("struct skb_shared_info", "frags"))
        which, _, found = gather_arrays(kernel, first, frags, _frag_dtype(kernel))
        page = np.ascontiguousarray(found["page"])
        owners.append(index[which])
        heads.append(np.zeros_like(page))
        pages.append(np.where(page & np.uint64(1) == 0, page, 0))  # odd: memory of a device (net_iov)
        chain = walk_chains(kernel, np.where(ok, rows["list"], 0), kernel.offset(_SKB, "next"))
        index, packets = index[chain.owner], chain.node
    return np.concatenate(owners), np.concatenate(heads), np.concatenate(pages)


def _linear(kernel: Kernel, packets: U64) -> tuple[U64, U64]:
    """The buffer of each packet, and its ``skb_shared_info`` at the buffer's end; 0 where unreadable."""
    rows, ok = kernel.gather(packets, kernel.dtype(_SKB, {"head": "head", "end": "end"}))
    head = np.where(ok, rows["head"], 0).astype(np.uint64)
    # 64-bit kernels store the end as an offset (NET_SKBUFF_DATA_USES_OFFSET).
    return head, np.where(head != 0, head + rows["end"].astype(np.uint64), 0)


def _info_dtype(kernel: Kernel) -> np.dtype[Any]:
    return kernel.dtype("struct skb_shared_info", {"nr": "nr_frags", "list": "frag_list"})


def _frag_dtype(kernel: Kernel) -> np.dtype[Any]:
    """``skb_frag_t``: a bio_vec until 21d2e6737c97 (6.9), then ``struct skb_frag``."""
    try:
        return kernel.dtype("struct skb_frag", {"page": ("netmem", "bv_page")})
    except LookupError:
        return kernel.dtype("struct bio_vec", {"page": "bv_page"})
