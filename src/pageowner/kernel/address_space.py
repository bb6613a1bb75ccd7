# SPDX-License-Identifier: LGPL-2.1-or-later
"""``struct address_space``, inodes and superblocks, gathered: what page-cache pages lead to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.gather import GatherCache
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
_PROBLEM = "page.mapping leads to no inode that leads back"


@dataclass(frozen=True)
class SuperBlock:
    """``dev`` is s_dev as the kernel keeps it: major << 20 | minor. ``type`` is the file system's name."""

    dev: int
    type: str
    id: str


class AddressSpaces:
    """Mappings → inodes → superblocks of one kernel. Use it through ``kernel.memo(AddressSpaces)``."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        mapping = kernel.dtype("struct address_space", {"host": "host", "a_ops": "a_ops"})
        # Every page-cache layer asks for the same mappings in every section that has pages of them.
        self._mappings = GatherCache(kernel.read, mapping)
        self._inode = kernel.dtype(
            "struct inode",
            {"ino": "i_ino", "sb": "i_sb", "mapping": "i_mapping", "nlink": "i_nlink", "mode": "i_mode"},
        )
        self._super_blocks: dict[int, SuperBlock | None] = {}

    def numbers(self, mappings: U64) -> npt.NDArray[np.int64]:
        """Distinct mappings, numbered in the order in which they were first asked for."""
        return self._mappings.numbers(mappings)

    def operations(self, mappings: U64) -> tuple[U64, npt.NDArray[np.bool_]]:
        """``a_ops`` of each mapping (uint64), and whether it could be read."""
        rows, ok = self._mappings.rows(mappings)
        return np.ascontiguousarray(rows["a_ops"]), ok

    def super_block(self, address: int) -> SuperBlock | None:
        """The superblock at *address*, read once; None when it is not one."""
        if address not in self._super_blocks:
            self._super_blocks[address] = self._read_super_block(address)
        return self._super_blocks[address]

    def describe(self, mappings: U64) -> pl.DataFrame:
        """One row per mapping: ``inode`` (address), ``ino``, ``nlink``, ``mode``, ``dev``, ``major``,
        ``minor``, ``fstype``, ``id``, and ``problem`` where the chain contradicts itself."""
        spaces, ok = self._mappings.rows(mappings)
        inodes, ok_inode = self._kernel.gather(spaces["host"], self._inode)
        unique, inverse = np.unique(inodes["sb"], return_inverse=True)
        blocks = [self.super_block(int(a)) for a in unique]
        known = np.array([b is not None for b in blocks], np.bool_)[inverse]
        # A swapper space has no host; an inode that does not lead back is freed or foreign memory.
        good = ok & ok_inode & known & (inodes["mapping"] == mappings)
        frame = pl.DataFrame(
            {
                "inode": np.ascontiguousarray(spaces["host"]),
                "ino": np.ascontiguousarray(inodes["ino"]).astype(np.uint64),
                "nlink": np.ascontiguousarray(inodes["nlink"]),
                "mode": np.ascontiguousarray(inodes["mode"]),
                "problem": pl.Series([None if g else _PROBLEM for g in good.tolist()], dtype=pl.String),
            }
        )
        return frame.hstack(_super_block_columns(blocks, inverse))

    def names(self, inodes: U64) -> list[str]:
        """The name of each inode's first dentry (``d_name``), "" where it has none."""
        link = self._kernel.offset("struct dentry", "d_u.d_alias", "d_alias")
        head = self._kernel.dtype("struct inode", {"first": ("i_dentry.first",)})
        rows, ok = self._kernel.gather(inodes, head)
        has = ok & (rows["first"] != 0)
        dentries = np.where(has, rows["first"] - np.uint64(link), 0)
        fields = {"name": "d_name.name", "len": "d_name.len", "inode": "d_inode"}
        found, ok = self._kernel.gather(dentries, self._kernel.dtype("struct dentry", dict(fields)))
        good = ok & (found["inode"] == inodes)
        texts = self._kernel.read_strings(np.where(good, found["name"], 0))
        return [(text or "")[:255] for text in texts]

    def disk_name(self, inode: int) -> str:
        """Name of the block device whose cache *inode* stands for ("vda1"), "" if it cannot be told."""
        base = self._kernel.offset("struct bdev_inode", "vfs_inode")
        try:
            name = self._kernel.dtype("struct bdev_inode", {"name": "bdev.bd_device.kobj.name"})
        except LookupError:  # until 0d02129e76ed (5.11) the name was the partition's
            return self._old_disk_name(inode - base)
        rows, ok = self._kernel.gather(np.array([inode - base], np.uint64), name)
        return (self._kernel.read_string(int(rows["name"][0]), 64) or "") if ok[0] else ""

    def _old_disk_name(self, bdev_inode: int) -> str:
        part = self._kernel.dtype("struct bdev_inode", {"part": "bdev.bd_part"})
        parts, ok = self._kernel.gather(np.array([bdev_inode], np.uint64), part)
        name = self._kernel.dtype("struct hd_struct", {"name": "__dev.kobj.name"})
        rows, ok = self._kernel.gather(np.where(ok, parts["part"], 0), name)
        return (self._kernel.read_string(int(rows["name"][0]), 64) or "") if ok[0] else ""

    def _read_super_block(self, address: int) -> SuperBlock | None:
        fields = self._kernel.dtype("struct super_block", {"dev": "s_dev", "type": "s_type", "id": "s_id"})
        rows, ok = self._kernel.gather(np.array([address], np.uint64), fields)
        if not ok[0]:
            return None
        name_at = self._kernel.dtype("struct file_system_type", {"name": "name"})
        types, ok = self._kernel.gather(rows["type"], name_at)
        name = self._kernel.read_string(int(types["name"][0]), 64) if ok[0] else None
        if not name or not name.isprintable():
            return None
        return SuperBlock(int(rows["dev"][0]), name, rows["id"][0].decode("utf-8", "surrogateescape"))


def _super_block_columns(blocks: list[SuperBlock | None], inverse: npt.NDArray[np.intp]) -> pl.DataFrame:
    table = [b or SuperBlock(0, "", "") for b in blocks]
    dev = np.array([b.dev for b in table], np.uint32)[inverse]
    return pl.DataFrame(
        {
            "dev": dev,
            "major": dev >> np.uint32(20),
            "minor": dev & np.uint32((1 << 20) - 1),
            "fstype": [table[i].type for i in inverse.tolist()],
            "id": [table[i].id for i in inverse.tolist()],
        }
    )
