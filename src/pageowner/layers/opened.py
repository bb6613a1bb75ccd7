# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the layers of open files share: objects behind descriptors, named by who has them open."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.fdtable import OpenFiles, read_open_files
from pageowner.kernel.sections import Sections, read_sections
from pageowner.layers.base import Claims, Layer

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class OpenedLayer(Layer):
    """Pages of what open files lead to. The key is the file's ``private_data`` (a pipe, a ring, a socket).

    :meth:`describe` gives ``pid``, ``fd`` and ``comm`` of the lowest process that has it open.
    """

    operations: ClassVar[tuple[str, ...]]
    """Symbols of the ``struct file_operations`` of such files."""

    @property
    def files(self) -> OpenFiles:
        return self.kernel.memo(read_open_files)

    @property
    def sections(self) -> Sections:
        return self.kernel.memo(read_sections)

    def objects(self) -> U64:
        """The distinct objects behind the files, by address."""
        return np.unique(self.files.private[self.files.of(self.kernel, *self.operations)])

    def page_claims(self, key: U64, pages: U64) -> Claims:
        """One page each, by the addresses of struct pages; what is no struct page is left out."""
        pfn = self.sections.page_pfn(pages)
        good = pfn >= 0
        return Claims(pfn[good], np.ones(int(good.sum()), np.int64), key[good])

    def address_claims(self, key: U64, address: U64, n: I64 | int = 1) -> Claims:
        """*n* pages each from direct-map addresses on; other addresses are left out."""
        phys, linear = self.kernel.linear_to_phys(address)
        pfn = (phys >> np.uint64(12)).astype(np.int64)
        count = np.broadcast_to(np.asarray(n, np.int64), pfn.shape)
        return Claims(pfn[linear], count[linear], key[linear])

    def describe(self, keys: U64) -> pl.DataFrame:
        files = self.files
        rows = files.of(self.kernel, *self.operations)
        # Ascending by (object, pid, fd): the first row of an object is its lowest holder.
        rows = rows[np.lexsort((files.fd[rows], files.pid[rows], files.private[rows]))]
        at = np.searchsorted(files.private[rows], keys)
        inside = at < len(rows)
        at = rows[np.where(inside, at, 0)] if len(rows) else np.zeros(len(keys), np.intp)
        known = (inside & (files.private[at] == keys) if len(rows) else inside & False).tolist()
        holders = [files.holder(int(a)) if good else None for a, good in zip(at, known, strict=True)]
        return pl.DataFrame(
            {
                "pid": [h.pid if h else None for h in holders],
                "fd": [h.fd if h else None for h in holders],
                "comm": [escape(h.comm, "()") if h else "" for h in holders],
                "file_inode": [int(files.inode[a]) if good else 0 for a, good in zip(at, known, strict=True)],
                "owner": [f"pid {h.pid} ({escape(h.comm, '()')}) fd {h.fd}" if h else "" for h in holders],
            },
            schema={
                "pid": pl.Int64,
                "fd": pl.Int64,
                "comm": pl.String,
                "file_inode": pl.UInt64,
                "owner": pl.String,
            },
        )
