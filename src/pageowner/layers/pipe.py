# SPDX-License-Identifier: LGPL-2.1-or-later
"""PIPE_PAGE: buffers of pipes and FIFOs (fs/pipe.c)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from pageowner.kernel.arrays import gather_arrays
from pageowner.layers.base import Band, Claims, Needs
from pageowner.layers.opened import U64, OpenedLayer

_RING = "struct pipe_inode_info"


class Pipe(OpenedLayer):
    """The key is the ``struct pipe_inode_info``. (Pipe inodes are on no list of their file system.)

    A page of the page cache, or of a process, that was spliced into a pipe stays what it is.
    """

    word = "PIPE_PAGE"
    band = Band.HELD
    line = "PIPE_PAGE ino:{ino} pid:{pid} fd:{fd} name:{comm}"
    operations = ("pipefifo_fops", "pipeanon_fops")  # anonymous ones have their own since 6.15
    needs = Needs(members=("struct pipe_inode_info.bufs", "struct pipe_buffer.page"))

    def walk(self) -> Iterator[Claims]:
        fields: dict[str, tuple[str, ...] | str] = {
            name: name for name in ("head", "tail", "ring_size", "bufs")
        }
        pipes = self.objects()
        rows, ok = self.kernel.gather(pipes, self.kernel.dtype(_RING, fields))
        pipes, rows = pipes[ok], rows[ok]
        # Only the slots from tail to head hold a page; the ring's size is a power of two.
        size = rows["ring_size"].astype(np.int64)
        sane = (size > 0) & (size & (size - 1) == 0)
        buffer = self.kernel.dtype("struct pipe_buffer", {"page": "page"})
        owner, slot, found = gather_arrays(self.kernel, rows["bufs"], np.where(sane, size, 0), buffer)
        mask = size[owner] - 1
        behind = (slot - rows["tail"].astype(np.int64)[owner]) & mask
        used = behind < (rows["head"] - rows["tail"]).astype(np.int64)[owner]
        yield self.page_claims(pipes[owner[used]], np.ascontiguousarray(found["page"][used]))
        yield self._spare(pipes)

    def _spare(self, pipes: U64) -> Claims:
        """The emptied pages that a pipe keeps: one until 6.13, then two, none since 7.3."""
        try:
            offset = self.kernel.offset(_RING, "tmp_page")
            count = int(self.kernel.type(_RING).member("tmp_page").type.length or 0)
        except LookupError:
            return self.page_claims(pipes[:0], pipes[:0])
        except AttributeError:
            count = 1
        spare = np.dtype([("page", "<u8", (count,))])
        rows, _ = self.kernel.gather(pipes + np.uint64(offset), spare)
        return self.page_claims(np.repeat(pipes, count), rows["page"].reshape(-1))

    def describe(self, keys: U64) -> pl.DataFrame:
        frame = super().describe(keys)
        inode = self.kernel.dtype("struct inode", {"ino": "i_ino"})
        rows, _ = self.kernel.gather(frame.get_column("file_inode").to_numpy(), inode)
        return frame.with_columns(pl.Series("ino", np.ascontiguousarray(rows["ino"]).astype(np.uint64)))
