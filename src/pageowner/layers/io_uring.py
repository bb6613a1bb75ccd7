# SPDX-License-Identifier: LGPL-2.1-or-later
"""IO_URING_PAGE: the rings that io_uring shares with user space (io_uring/io_uring.c, memmap.c)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.arrays import gather_arrays, gather_words
from pageowner.kernel.units import units_of
from pageowner.kernel.xarray import xarray_entries
from pageowner.layers.base import Band, Claims, Needs
from pageowner.layers.opened import I64, U64, OpenedLayer

_CTX = "struct io_ring_ctx"
# IORING_SETUP_NO_MMAP (include/uapi/linux/io_uring.h, 6.5): the rings lie in the process's own memory.
_NO_MMAP = 1 << 14
# IO_REGION_F_USER_PROVIDED (io_uring/memmap.c, 6.14): so does this region.
_USER_REGION = 1 << 1
_LIST = "struct io_buffer_list"
# Pages, their number, flags; a bit that says that they are a process's, one that they are the kernel's own.
_BUFFER_RINGS = (
    ("region.pages", "region.nr_pages", "region.flags", _USER_REGION, 0),  # 6.14
    ("buf_pages", "buf_nr_pages", "flags", 0, 1 << 1),  # IOBL_MMAP
    ("buf_pages", "buf_nr_pages", "is_mmap", 0, 1),  # 6.4; before there were only a process's
)
_REGIONS = ("ring_region", "sq_region", "param_region")


class IoUring(OpenedLayer):
    """The key is the ``struct io_ring_ctx``. Registered buffers are a process's own: they are held only."""

    word = "IO_URING_PAGE"
    band = Band.WALKED
    line = "IO_URING_PAGE pid:{pid} fd:{fd} name:{comm}"
    operations = ("io_uring_fops",)
    needs = Needs(members=("struct io_ring_ctx.rings",))
    before = ("VMALLOC_PAGE",)

    def walk(self) -> Iterator[Claims]:
        contexts = self.objects()
        yield from self._regions(contexts)
        yield from self._rings(contexts)
        yield from self._buffer_rings(contexts)
        yield from self._buffers(contexts)

    def _regions(self, contexts: U64) -> Iterator[Claims]:
        """6.14 and later: ``struct io_mapped_region`` each."""
        for name in _REGIONS:
            if not self.kernel.has_member(_CTX, f"{name}.pages"):
                continue
            fields = {field: f"{name}.{field}" for field in ("pages", "nr_pages", "flags")}
            rows, ok = self.kernel.gather(contexts, self.kernel.dtype(_CTX, dict(fields)))
            user = (rows["flags"].astype(np.int64) & _USER_REGION) != 0
            yield from self._lists(contexts[ok], rows["pages"][ok], rows["nr_pages"][ok], user[ok])

    def _rings(self, contexts: U64) -> Iterator[Claims]:
        """The rings' addresses; until 6.13 arrays of pages where they exist (6.5, and stable trees)."""
        rows, _ = self.kernel.gather(contexts, self.kernel.dtype(_CTX, {"flags": "flags"}))
        user = (rows["flags"].astype(np.int64) & _NO_MMAP) != 0
        for pages, count, ring in (
            ("ring_pages", "n_ring_pages", "rings"),
            ("sqe_pages", "n_sqe_pages", "sq_sqes"),
        ):
            if self.kernel.has_member(_CTX, pages):
                fields = {"pages": pages, "count": count}
                rows, ok = self.kernel.gather(contexts, self.kernel.dtype(_CTX, dict(fields)))
                yield from self._lists(contexts[ok], rows["pages"][ok], rows["count"][ok], user[ok])
            rows, ok = self.kernel.gather(contexts, self.kernel.dtype(_CTX, {"ring": ring}))
            phys, linear = self.kernel.linear_to_phys(rows["ring"])
            pfn = np.where(linear & ok & ~user, phys >> np.uint64(12), -1).astype(np.int64)
            yield self._whole(contexts, pfn)

    def _buffer_rings(self, contexts: U64) -> Iterator[Claims]:
        """IORING_REGISTER_PBUF_RING: lists of buffers that the kernel may choose from."""
        if not self.kernel.has_member(_CTX, "io_bl_xa"):
            return
        at = self.kernel.offset(_CTX, "io_bl_xa")
        found = [xarray_entries(self.kernel, context + at)[1] for context in contexts.tolist()]
        owner = np.repeat(contexts, [len(entries) for entries in found])
        rings = np.concatenate([np.empty(0, np.uint64), *found])
        for pages, count, flags, theirs, mine in _BUFFER_RINGS:
            if not self.kernel.has_member(_LIST, flags):
                continue
            fields = {"pages": pages, "n": count, "flags": flags}
            rows, ok = self.kernel.gather(rings, self.kernel.dtype(_LIST, dict(fields)))
            word = rows["flags"].astype(np.int64)
            user = ((word & theirs) != 0) | ((word & mine) != mine)
            yield from self._lists(owner[ok], rows["pages"][ok], rows["n"][ok], user[ok])
            return

    def _lists(
        self, contexts: U64, lists: U64, counts: npt.NDArray[Any], user: npt.NDArray[np.bool_]
    ) -> Iterator[Claims]:
        owner, _, page = gather_words(self.kernel, lists, counts)
        theirs = user[owner]
        held = self.page_claims(contexts[owner[theirs]], page[theirs])
        held.held = True
        yield held
        yield self._whole(contexts[owner[~theirs]], self.sections.page_pfn(page[~theirs]))

    def _whole(self, key: U64, pfn: I64) -> Claims:
        """The compound pages around *pfn*: a ring may end before its last page does."""
        units = units_of(self.kernel, pfn)
        row, first = np.unique(units.row, return_index=True)
        first, row = first[row >= 0], row[row >= 0]
        return Claims(units.pfn[row], units.n[row], key[first])

    def _buffers(self, contexts: U64) -> Iterator[Claims]:
        """Registered buffers: ``io_mapped_ubuf``, with runs of pages."""
        owner, ubuf = self._ubufs(contexts)
        if not len(ubuf):
            return
        rows, ok = self.kernel.gather(ubuf, self.kernel.dtype("struct io_mapped_ubuf", {"n": "nr_bvecs"}))
        first = ubuf + np.uint64(self.kernel.offset("struct io_mapped_ubuf", "bvec"))
        fields = {"page": "bv_page", "len": "bv_len", "offset": "bv_offset"}
        dtype = self.kernel.dtype("struct bio_vec", dict(fields))
        which, _, vectors = gather_arrays(self.kernel, first, np.where(ok, rows["n"], 0), dtype)
        pfn = self.sections.page_pfn(np.ascontiguousarray(vectors["page"]))
        start = vectors["offset"].astype(np.int64)
        n = ((start + vectors["len"] + 4095) >> 12) - (start >> 12)
        good = (pfn >= 0) & (n > 0)
        first = pfn + (start >> 12)  # of a large folio the vector's page is the head
        yield Claims(first[good], n[good], contexts[owner[which[good]]], held=True)

    def _ubufs(self, contexts: U64) -> tuple[npt.NDArray[np.int64], U64]:
        """(index of the context, address of the io_mapped_ubuf) of all registered buffers."""
        if self.kernel.has_member(_CTX, "user_bufs"):
            dtype = self.kernel.dtype(_CTX, {"list": "user_bufs", "n": "nr_user_bufs"})
            rows, ok = self.kernel.gather(contexts, dtype)
            owner, _, ubuf = gather_words(self.kernel, rows["list"], np.where(ok, rows["n"], 0))
            return owner, np.asarray(ubuf)
        # 6.13: a table of nodes, one buffer each.
        dtype = self.kernel.dtype(_CTX, {"list": "buf_table.nodes", "n": "buf_table.nr"})
        rows, ok = self.kernel.gather(contexts, dtype)
        owner, _, node = gather_words(self.kernel, rows["list"], np.where(ok, rows["n"], 0))
        nodes, ok = self.kernel.gather(node, self.kernel.dtype("struct io_rsrc_node", {"buf": "buf"}))
        has = ok & (nodes["buf"] != 0)
        return owner[has], np.ascontiguousarray(nodes["buf"][has])
