# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of files within their file system: from a dentry up to the root (fs/d_path.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drgn
import numpy as np
import numpy.typing as npt

from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
DEEPEST = 256
LONGEST_NAME = 255


@dataclass(frozen=True)
class FileName:
    """``path`` from the root of the file system, surrogate escapes for what is not UTF-8; ``deleted``: it
    has no link left; ``where``: ``s_id`` of the superblock (``vda1``, ``tmpfs``)."""

    path: str
    deleted: bool
    where: str


class Dentries:
    """Dentries of one kernel. Use it through ``kernel.memo(Dentries)``.

    :raises LookupError: when its structures are not as expected.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        fields = {"parent": "d_parent", "name": "d_name.name", "len": "d_name.len", "inode": "d_inode"}
        self._dentry = kernel.dtype("struct dentry", dict(fields))
        self._inode = kernel.dtype(
            "struct inode", {"first": ("i_dentry.first",), "nlink": "i_nlink", "sb": "i_sb"}
        )
        self._super = kernel.dtype("struct super_block", {"id": "s_id"})
        self._alias = kernel.offset("struct dentry", "d_u.d_alias")
        self._file = kernel.dtype("struct file", {"dentry": "f_path.dentry"})

    def of_inode(self, inode: int) -> FileName | None:
        """The file that *inode* is, by its first dentry; None where it has none."""
        found = self._row(inode, self._inode)
        if found is None or not found["first"]:
            return None
        dentry = int(found["first"]) - self._alias
        row = self._row(dentry, self._dentry)
        return None if row is None or int(row["inode"]) != inode else self._named(dentry, found)

    def of_file(self, file: int) -> FileName | None:
        """The file that the ``struct file`` at *file* is of."""
        opened = self._row(file, self._file)
        row = None if opened is None else self._row(int(opened["dentry"]), self._dentry)
        inode = None if row is None or not row["inode"] else self._row(int(row["inode"]), self._inode)
        if opened is None or inode is None:
            return None
        return self._named(int(opened["dentry"]), inode)

    def _named(self, dentry: int, inode: Any) -> FileName:
        superblock = self._row(int(inode["sb"]), self._super)
        where = "" if superblock is None else bytes(superblock["id"]).decode("utf-8", "surrogateescape")
        return FileName(self.path(dentry), int(inode["nlink"]) == 0, where)

    def path(self, dentry: int) -> str:
        """Its names from the root of the file system; one name for what has no root above it (memfd)."""
        names: list[str] = []
        for _ in range(DEEPEST):
            row = self._row(dentry, self._dentry)
            if row is None:
                break
            parent = int(row["parent"])
            if parent == dentry:
                # The root's own name is "/"; else this is a file without a tree.
                return "/" + "/".join(reversed(names)) if names else self._name(row)
            names.append(self._name(row))
            dentry = parent
        return "…/" + "/".join(reversed(names))

    def _name(self, row: Any) -> str:
        length = min(int(row["len"]), LONGEST_NAME)
        return (self._kernel.read_string(int(row["name"]), length) or "?") if length else ""

    def _row(self, address: int, dtype: np.dtype[Any]) -> Any:
        try:
            return np.frombuffer(self._kernel.read(address, dtype.itemsize), dtype)[0]
        except (drgn.FaultError, OverflowError, ValueError):
            return None
