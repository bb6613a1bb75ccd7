# SPDX-License-Identifier: LGPL-2.1-or-later
"""SOCKET_PAGE: what sockets hold: queued packets, the page they are writing to, shared rings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel import page_type, skbuff
from pageowner.kernel.arrays import gather_arrays
from pageowner.kernel.carried_files import socks_of
from pageowner.kernel.task import read_tasks
from pageowner.kernel.units import units_of
from pageowner.layers.base import Band, Claims, Needs
from pageowner.layers.opened import I64, U64, OpenedLayer

_FAMILIES = {
    skbuff.AF_UNIX: "unix",
    skbuff.AF_INET: "inet",
    skbuff.AF_INET6: "inet6",
    skbuff.AF_NETLINK: "netlink",
    skbuff.AF_PACKET: "packet",
    40: "vsock",
    44: "xdp",
}
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}
_RING = "struct packet_ring_buffer"
MOST_BLOCKS = 1 << 20


class Socket(OpenedLayer):
    """The key is the ``struct socket``, or the ``task_struct`` for the page that a task writes packets to.

    Small packets lie in slab pages, which are not claimed. Pages of files (sendfile) and of processes
    (MSG_ZEROCOPY) stay theirs.
    """

    word = "SOCKET_PAGE"
    band = Band.HELD
    line = "SOCKET_PAGE protocol:{protocol} pid:{pid} fd:{fd} name:{comm}"
    operations = ("socket_file_ops",)
    needs = Needs(members=("struct socket.sk", "struct sk_buff.head", "struct skb_shared_info.frags"))

    @cached_property
    def _socks(self) -> tuple[U64, U64]:
        """(socket, sock) of all open sockets that have a protocol, and of whom they are to accept."""
        sockets = self.objects()
        index, socks = socks_of(self.kernel, sockets)
        return sockets[index], socks

    def walk(self) -> Iterator[Claims]:
        sockets, socks = self._socks
        owner, packet = skbuff.socket_packets(self.kernel, socks)
        which, head, page = skbuff.packet_pages(self.kernel, packet)
        key = sockets[owner[which]]
        phys, linear = self.kernel.linear_to_phys(head)
        by_head = np.where(linear & (head != 0), phys >> np.uint64(12), -1).astype(np.int64)
        by_page = np.where(page != 0, self.sections.page_pfn(page), -1)
        yield self._units(key, np.where(page != 0, by_page, by_head))
        yield self._fragments("struct sock", "sk_frag.page", socks, sockets)
        tasks = self.kernel.memo(read_tasks).address
        yield self._fragments("struct task_struct", "task_frag.page", tasks, tasks)
        yield from self._packet_rings(sockets, socks)

    def _fragments(self, type_name: str, member: str, structs: U64, key: U64) -> Claims:
        """The compound page that each of *structs* fills with packets bit by bit (``struct page_frag``)."""
        offset = np.uint64(self.kernel.offset(type_name, member))
        page, ok = self.kernel.gather(structs + offset, np.dtype("<u8"))
        has = ok & (page != 0)
        return self._units(key[has], self.sections.page_pfn(page[has]))

    def _units(self, key: U64, pfn: I64) -> Claims:
        """Whole compound pages, each once; slab pages left out."""
        units = units_of(self.kernel, pfn)
        row, first = np.unique(units.row, return_index=True)
        plain = (row >= 0) & (units.type[np.maximum(row, 0)] != page_type.SLAB) if len(units.pfn) else row > 0
        return Claims(units.pfn[row[plain]], units.n[row[plain]], key[first[plain]])

    def _packet_rings(self, sockets: U64, socks: U64) -> Iterator[Claims]:
        """Rings that packet sockets share with their process (PACKET_RX_RING, net/packet/af_packet.c)."""
        if not self.kernel.has_member("struct packet_sock", "rx_ring"):
            return
        mine = np.flatnonzero(self._of_family(socks, skbuff.AF_PACKET))
        fields = {"blocks": "pg_vec", "n": "pg_vec_len", "pages": "pg_vec_pages"}
        dtype = self.kernel.dtype(_RING, dict(fields))
        for ring in ("rx_ring", "tx_ring"):
            at = socks[mine] + np.uint64(self.kernel.offset("struct packet_sock", ring))
            rows, ok = self.kernel.gather(at, dtype)
            count = np.where(ok & (rows["blocks"] != 0) & (rows["n"] <= MOST_BLOCKS), rows["n"], 0)
            block = self.kernel.dtype("struct pgv", {"buffer": "buffer"})
            owner, _, found = gather_arrays(self.kernel, rows["blocks"], count, block)
            pages = np.minimum(rows["pages"].astype(np.int64), 1 << 10)[owner]
            address = np.ascontiguousarray(found["buffer"])
            yield self.address_claims(sockets[mine[owner]], address, pages)

    def _of_family(self, socks: U64, family: int) -> npt.NDArray[np.bool_]:
        dtype = self.kernel.dtype("struct sock", {"family": "__sk_common.skc_family"})
        rows, ok = self.kernel.gather(socks, dtype)
        return np.asarray(ok & (rows["family"] == family))

    def describe(self, keys: U64) -> pl.DataFrame:
        frame = super().describe(keys).with_columns(
            pl.Series("protocol", self._protocols(keys), pl.String)
        )
        tasks = self.kernel.memo(read_tasks)
        order = np.argsort(tasks.address)
        row = order[np.minimum(np.searchsorted(tasks.address[order], keys), len(tasks) - 1)]
        is_task = tasks.address[row] == keys
        which = [int(r) if task else None for r, task in zip(row, is_task, strict=True)]
        pid = [None if r is None else int(tasks.rows["pid"][r]) for r in which]
        comm = [None if r is None else escape(tasks.comm[r], "()") for r in which]
        frame = frame.with_columns(
            pl.coalesce(pl.Series(pid, dtype=pl.Int64), "pid").alias("pid"),
            pl.coalesce(pl.Series(comm, dtype=pl.String), "comm").alias("comm"),
            pl.col("fd").fill_null(-1),  # a task's page is behind no descriptor
            pl.when(pl.Series(is_task)).then(pl.lit("task")).otherwise("protocol").alias("protocol"),
        )
        return frame.with_columns(pl.format("{} pid {} ({})", "protocol", "pid", "comm").alias("owner"))

    def _protocols(self, keys: U64) -> list[str]:
        rows, ok = self.kernel.gather(keys, self.kernel.dtype("struct socket", {"sk": "sk"}))
        fields = {"family": "__sk_common.skc_family", "protocol": "sk_protocol"}
        dtype = self.kernel.dtype("struct sock", dict(fields))
        socks, known = self.kernel.gather(np.where(ok, rows["sk"], 0), dtype)
        return [
            _protocol(int(family), int(protocol)) if good else ""
            for family, protocol, good in zip(socks["family"], socks["protocol"], known, strict=True)
        ]


def _protocol(family: int, protocol: int) -> str:
    if family in (skbuff.AF_INET, skbuff.AF_INET6):
        return _PROTOCOLS.get(protocol, f"ip-{protocol}")
    return _FAMILIES.get(family, f"family-{family}")
