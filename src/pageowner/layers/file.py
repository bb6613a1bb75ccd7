# SPDX-License-Identifier: LGPL-2.1-or-later
"""FILE_PAGE: the page cache (mm/filemap.c), and what its relatives share with it."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.address_space import AddressSpaces
from pageowner.kernel.memmap import Heads
from pageowner.kernel.path import Paths
from pageowner.kernel.runs import distinct
from pageowner.kernel.target import Kernel
from pageowner.kernel.units import read_layout, units_of
from pageowner.layers.base import Band, Bools, Layer, Needs, Selection, untyped

PLACE = (
    "dev {major}:{minor} ino:{ino} index:0x{index:x} mapcount:{mapcount} refcount:{refcount}"
    " 0x{start:x} - 0x{end:x}{by_pid}"
)


class PageCache(Layer):
    """Pages whose ``mapping`` is an address_space, which is the key; column ``first``: the head's index."""

    band = Band.MAPPING
    needs = Needs(
        members=("struct address_space.a_ops", "struct inode.i_mapping", "struct super_block.s_dev")
    )

    def domain(self, heads: Heads) -> Bools:
        return np.asarray(untyped(heads) & (heads.mapping_bits == 0) & (heads.mapping != 0))

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, heads.mapping[rows], {"first": heads.rows["index"][rows]})

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        frame = self.kernel.memo(AddressSpaces).describe(keys)
        name = pl.format("{} {}:{} ino {}", "fstype", "major", "minor", "ino").alias("owner")
        return frame.with_columns(name)

    def inspect(self, pfn: int) -> list[tuple[str, str]]:
        """The name of the file within its file system."""
        layout = self.kernel.memo(read_layout)
        units = units_of(self.kernel, np.array([pfn]))
        head = layout.sections.page_address(units.pfn[units.row[:1]])
        rows, _ = self.kernel.gather(head, layout.dtype)
        frame = self.kernel.memo(AddressSpaces).describe(np.ascontiguousarray(rows["mapping"]))
        inode = np.array([int(frame["inode"][0])], np.uint64)
        path = self.kernel.memo(Paths).of_inodes(inode)[0] or "(its name is no longer in memory)"
        return [("file", f"{escape(path)} on {escape(frame['id'][0])} ({escape(frame['fstype'][0])})")]


class ChosenSpaces(PageCache):
    """Those of some address_spaces only."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._verdicts = np.empty(0, np.int8)  # by the number of the address_space: -1 none yet

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        unique, inverse = distinct(heads.mapping[rows])
        return super().select(heads, rows[self._judged(unique)[inverse]])

    @abstractmethod
    def mine(self, mappings: npt.NDArray[np.uint64]) -> Bools:
        """Which of these distinct address_spaces are this layer's: each is asked for once."""

    def _judged(self, mappings: npt.NDArray[np.uint64]) -> Bools:
        at = self.kernel.memo(AddressSpaces).numbers(mappings)
        more = int(at.max()) + 1 - len(self._verdicts)
        self._verdicts = np.append(self._verdicts, np.full(max(more, 0), -1, np.int8))
        new = np.flatnonzero(self._verdicts[at] < 0)
        if len(new):
            self._verdicts[at[new]] = self.mine(mappings[new])
        return np.asarray(self._verdicts[at] == 1)


class OperationsLayer(ChosenSpaces):
    """Page-cache pages that are told by their ``a_ops``."""

    operations: ClassVar[tuple[str, ...]]
    """Symbols of the ``struct address_space_operations`` that are this layer's."""

    def mine(self, mappings: npt.NDArray[np.uint64]) -> Bools:
        a_ops, ok = self.kernel.memo(AddressSpaces).operations(mappings)
        known = [address for name in self.operations if (address := self.kernel.address(name)) is not None]
        return np.asarray(np.isin(a_ops, np.array(known, np.uint64)) & ok)


class File(PageCache):
    """What no more special layer took."""

    word = "FILE_PAGE"
    line = "FILE_PAGE " + PLACE


class Shmem(OperationsLayer):
    """tmpfs, memfd, SysV and shared anonymous memory (mm/shmem.c)."""

    word = "SHMEM_PAGE"
    line = "SHMEM_PAGE " + PLACE + " name:{name}"
    before = ("FILE_PAGE",)
    operations = ("shmem_aops",)

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        frame = super().describe(keys)
        names = self.kernel.memo(AddressSpaces).names(frame.get_column("inode").to_numpy())
        return frame.with_columns(pl.Series("name", [escape(n) for n in names], pl.String)).with_columns(
            pl.format("{} ino {}", pl.col("name"), "ino").alias("owner")
        )


class Bdev(ChosenSpaces):
    """The cache of block devices: their superblock is the internal one of type bdev (block/bdev.c)."""

    word = "BDEV_PAGE"
    line = "BDEV_PAGE " + PLACE + " name:{name}"
    before = ("FILE_PAGE",)

    def mine(self, mappings: npt.NDArray[np.uint64]) -> Bools:
        frame = self.kernel.memo(AddressSpaces).describe(mappings)
        return frame.select((pl.col("fstype") == "bdev") & pl.col("problem").is_null()).to_series().to_numpy()

    def inspect(self, pfn: int) -> list[tuple[str, str]]:
        """A disk's cache is no file."""
        return []

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        frame = super().describe(keys)
        # i_ino of a bdev inode is its dev_t as the kernel keeps it; s_dev is the internal superblock's.
        spaces = self.kernel.memo(AddressSpaces)
        names = [escape(spaces.disk_name(int(i))) for i in frame.get_column("inode")]
        return frame.with_columns(pl.Series("name", names, pl.String), pl.Series("owner", names, pl.String))
