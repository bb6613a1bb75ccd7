# SPDX-License-Identifier: LGPL-2.1-or-later
"""BLK_MQ_PAGE: requests that block devices keep ready for all their tags (block/blk-mq.c)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.block import disk_tags, read_disks, tag_pages
from pageowner.layers.base import Band, Claims, Layer, Needs

U64 = npt.NDArray[np.uint64]


class BlkMq(Layer):
    """The key is the ``struct blk_mq_tags``; of disks that share them, the first by name is told."""

    word = "BLK_MQ_PAGE"
    band = Band.WALKED
    line = "BLK_MQ_PAGE name:{name}"
    needs = Needs(
        members=("struct blk_mq_tags.page_list", "struct bdev_inode.vfs_inode"),
        globals=("blockdev_superblock",),
    )

    @cached_property
    def _names(self) -> dict[int, str]:
        disks, names = read_disks(self.kernel)
        owner, tags = disk_tags(self.kernel, disks)
        found: dict[int, set[str]] = {}
        for address, disk in zip(tags.tolist(), owner.tolist(), strict=True):
            found.setdefault(address, set()).add(names[disk])
        return {address: min(disks_of) for address, disks_of in found.items()}

    def walk(self) -> Iterator[Claims]:
        tags = np.array(sorted(self._names), np.uint64)
        owner, pfn, n = tag_pages(self.kernel, tags)
        yield Claims(pfn, n, tags[owner])

    def describe(self, keys: U64) -> pl.DataFrame:
        names = [escape(self._names.get(key, "")) for key in keys.tolist()]
        return pl.DataFrame({"name": names, "owner": names}, schema={"name": pl.String, "owner": pl.String})
