# SPDX-License-Identifier: LGPL-2.1-or-later
"""PERF_PAGE: buffers of performance events that user space reads (kernel/events/ring_buffer.c)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pageowner.kernel.arrays import gather_words
from pageowner.layers.base import Band, Claims, Needs
from pageowner.layers.opened import U64, OpenedLayer

_FIELDS = ("nr_pages", "user_page", "aux_pages", "aux_nr_pages")


class Perf(OpenedLayer):
    """The key is the ``struct perf_event`` of the file that is first to reach the buffer."""

    word = "PERF_PAGE"
    band = Band.WALKED
    line = "PERF_PAGE pid:{pid} fd:{fd} name:{comm}"
    operations = ("perf_fops",)
    needs = Needs(members=("struct perf_event.rb", "struct perf_buffer.data_pages"))

    def walk(self) -> Iterator[Claims]:
        events = self.objects()
        rows, ok = self.kernel.gather(events, self.kernel.dtype("struct perf_event", {"rb": "rb"}))
        # Events may write into one another's buffer (PERF_EVENT_IOC_SET_OUTPUT).
        buffers, first = np.unique(np.where(ok, rows["rb"], 0), return_index=True)
        events, buffers = events[first[buffers != 0]], buffers[buffers != 0]
        dtype = self.kernel.dtype("struct perf_buffer", {name: name for name in _FIELDS})
        rows, ok = self.kernel.gather(buffers, dtype)
        events, buffers, rows = events[ok], buffers[ok], rows[ok]
        yield self.address_claims(events, np.ascontiguousarray(rows["user_page"]))
        data = buffers + np.uint64(self.kernel.offset("struct perf_buffer", "data_pages"))
        yield self._listed(events, data, rows["nr_pages"])
        yield self._listed(events, rows["aux_pages"], rows["aux_nr_pages"])

    def _listed(self, events: U64, lists: U64, counts: U64) -> Claims:
        owner, _, address = gather_words(self.kernel, lists, np.maximum(counts, 0))
        return self.address_claims(events[owner], address)
