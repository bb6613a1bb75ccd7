# SPDX-License-Identifier: LGPL-2.1-or-later
"""Path names of inodes and files, in bulk: dentries climbed level by level (fs/dcache.c, fs/d_path.c)."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.escape import escape
from pageowner.kernel.address_space import AddressSpaces
from pageowner.kernel.arrays import gather_narrow
from pageowner.kernel.lists import walk_chains
from pageowner.kernel.mount import Mounts, read_mounts
from pageowner.kernel.target import Kernel

U64 = npt.NDArray[np.uint64]
DEEPEST = 4096
DELETED = " (deleted)"
_LONGEST_NAME = 255


@dataclass(frozen=True)
class _Dentry:
    parent: int
    name: str


class Paths:
    """Path names of one kernel. Use it through ``kernel.memo(Paths)``.

    Names are as stored: bytes that are no UTF-8 come as surrogates, and whoever prints them escapes them
    (:func:`pageowner.escape.escape`).
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._dentries: dict[int, _Dentry] = {}
        self._mount_paths: dict[int, str] = {}
        self._dtype = kernel.dtype(
            "struct dentry",
            {"parent": "d_parent", "name": "d_name.name", "len": "d_name.len", "hashed": "d_hash.pprev"},
        )

    @cached_property
    def mounts(self) -> Mounts:
        return read_mounts(self._kernel)

    def of_inodes(self, inodes: U64) -> list[str]:
        """A path of each inode, "" where none is known any more (its dentry was dropped from memory).

        As process 1 would see it, else as within its file system; `` (deleted)`` at the end where it has
        been unlinked. What no mount shows has just a name: ``memfd:x``, ``SYSV00000000``, ``dev/zero``.
        """
        dentry, deleted = self._aliases(inodes)
        self._load(dentry[dentry != 0])
        paths = [self._path(d) if d else "" for d in dentry.tolist()]
        return [
            path + DELETED if gone and path.startswith("/") else path
            for path, gone in zip(paths, deleted.tolist(), strict=True)
        ]

    def of_files(self, files: U64) -> list[str]:
        """The path under which each ``struct file`` was opened."""
        fields: dict[str, tuple[str, ...] | str] = {"mnt": "f_path.mnt", "dentry": "f_path.dentry"}
        rows, ok = self._kernel.gather(files, self._kernel.dtype("struct file", fields))
        mount = rows["mnt"] - np.uint64(self._kernel.offset("struct mount", "mnt"))
        dentry = np.where(ok, rows["dentry"], 0)
        self._load(np.unique(dentry[dentry != 0]))
        pairs = zip(dentry.tolist(), mount.tolist(), strict=True)
        return [self._path_in(d, self.mounts.by_address.get(m)) if d else "" for d, m in pairs]

    @cached_property
    def table(self) -> pl.DataFrame:
        """The mounts, pid 1's first: ``sb`` (address), ``dev`` (as kept: major << 20 | minor), ``fstype``,
        ``source``, ``path`` (of the mount point), ``root`` (what of the file system is shown), ``ns``.

        Texts are escaped: a table holds nothing that is no UTF-8.
        """
        rows = self.mounts.rows
        paths = [self._mount_path(row) or "/" for row in range(len(rows))]
        spaces = self._kernel.memo(AddressSpaces)
        blocks = [spaces.super_block(int(sb)) for sb in rows["sb"]]
        return pl.DataFrame(
            {
                "sb": np.ascontiguousarray(rows["sb"]),
                "dev": [b.dev if b else 0 for b in blocks],
                "fstype": [escape(b.type) if b else "" for b in blocks],
                "source": [escape(text or "") for text in self._kernel.read_strings(rows["devname"])],
                "path": [escape(path) for path in paths],
                "root": [escape(_join("", self._names(int(root), ())[0])) for root in rows["root"]],
                "ns": np.ascontiguousarray(rows["ns"]),
            }
        )

    # -- dentries ------------------------------------------------------------------------------

    def _aliases(self, inodes: U64) -> tuple[U64, npt.NDArray[np.bool_]]:
        """A dentry of each inode (0: none in memory), one that is not unlinked if there is any; unlinked."""
        kernel = self._kernel
        fields: dict[str, tuple[str, ...] | str] = {"first": "i_dentry.first", "nlink": "i_nlink"}
        rows, ok = gather_narrow(kernel, inodes, kernel.dtype("struct inode", fields))
        link = kernel.offset("struct dentry", "d_u.d_alias", "d_alias")
        chain = walk_chains(kernel, np.where(ok, rows["first"], 0), 0)
        node = chain.node - np.uint64(link)
        dtype = kernel.dtype("struct dentry", {"h": "d_hash.pprev", "inode": "d_inode"})
        found, good = gather_narrow(kernel, node, dtype)
        good &= found["inode"] == inodes[chain.owner]
        owner, node, hashed = chain.owner[good], node[good], found["h"][good] != 0
        # The first of each inode's, but hashed ones before others.
        order = np.lexsort((np.arange(len(owner)), ~hashed, owner))
        first, at = np.unique(owner[order], return_index=True)
        out = np.zeros(len(inodes), np.uint64)
        out[first] = node[order][at]
        # The root of a file system is not hashed, either; it has links.
        return out, ok & (rows["nlink"] == 0)

    def _load(self, dentries: U64) -> None:
        """Read *dentries* and all their ancestors that are not known yet."""
        frontier = dentries
        for _ in range(DEEPEST):
            new = [d for d in np.unique(frontier).tolist() if d not in self._dentries]
            if not new:
                return
            frontier = self._read(np.array(new, np.uint64))

    def _read(self, dentries: U64) -> U64:
        rows, ok = gather_narrow(self._kernel, dentries, self._dtype)
        names = self._read_names(np.where(ok, rows["name"], 0), rows["len"])
        for address, parent, name, good in zip(
            dentries.tolist(), rows["parent"].tolist(), names, ok.tolist(), strict=True
        ):
            self._dentries[address] = _Dentry(parent if good else 0, name)
        return np.ascontiguousarray(rows["parent"][ok & (rows["parent"] != 0)])

    def _read_names(self, pointers: U64, lengths: npt.NDArray[np.unsignedinteger]) -> list[str]:
        """The names at *pointers*, those of one length gathered together."""
        out = [""] * len(pointers)
        for length in np.unique(lengths[(lengths > 0) & (lengths <= _LONGEST_NAME)]).tolist():
            same = np.flatnonzero((lengths == length) & (pointers != 0))
            rows, ok = self._kernel.gather(pointers[same], np.dtype([("name", f"S{length}")]))
            for at, raw, good in zip(same.tolist(), rows["name"].tolist(), ok.tolist(), strict=True):
                out[at] = raw.decode("utf-8", "surrogateescape") if good else ""
        return out

    # -- paths ---------------------------------------------------------------------------------

    def _names(self, dentry: int, stops: Container[int]) -> tuple[list[str], int]:
        """Names from below a stop (or the root of the file system) down to *dentry*, and where it stopped."""
        names: list[str] = []
        seen = set()
        while dentry not in seen and len(names) < DEEPEST and dentry not in stops:
            seen.add(dentry)
            row = self._dentries.get(dentry)
            if row is None or row.parent in (dentry, 0):
                break
            names.append(row.name)
            dentry = row.parent
        return names[::-1], dentry

    def _path(self, dentry: int) -> str:
        """The path through the mount that shows the file system's own root, else through any."""
        names, top = self._names(dentry, ())
        row = self.mounts.by_root.get(top)
        if row is None:
            names, top = self._names(dentry, self.mounts.by_root)
            row = self.mounts.by_root.get(top)
        if row is not None:
            return _join(self._mount_path(row), names)
        if names:
            return _join("", names)
        top_name = self._dentries[top].name if top in self._dentries else ""
        return top_name if top_name != "/" else ""

    def _path_in(self, dentry: int, mount: int | None) -> str:
        if mount is None:
            return self._path(dentry)
        names, _ = self._names(dentry, (int(self.mounts.rows["root"][mount]),))
        return _join(self._mount_path(mount), names)

    def _mount_path(self, row: int) -> str:
        """Where mount *row* is mounted, "" for the root; each worked out once."""
        if not self._mount_paths:
            rows = self.mounts.rows
            self._load(np.unique(np.concatenate([rows["root"], rows["mountpoint"]])))
        if row not in self._mount_paths:
            self._mount_paths[row] = self._climb_mounts(row)
        return self._mount_paths[row]

    def _climb_mounts(self, row: int) -> str:
        rows, parts, seen = self.mounts.rows, [], set()
        while row not in seen:
            seen.add(row)
            parent = self.mounts.by_address.get(int(rows["parent"][row]))
            if parent is None or parent == row:
                break
            parts.append(self._names(int(rows["mountpoint"][row]), (int(rows["root"][parent]),))[0])
            row = parent
        return "".join("/" + name for part in reversed(parts) for name in part)


def _join(prefix: str, names: list[str]) -> str:
    return prefix + "".join("/" + name for name in names) or "/"
