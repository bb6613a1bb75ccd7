# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots that may be given away: names of processes, files and cgroups, and of the host, replaced.

A name becomes a pseudonym, the same one wherever it stands in the snapshot, so grouping still works; with the
same key also in other snapshots, so they can be compared. Without a key a random one is used and forgotten.

What stays: kinds, numbers (PIDs, inodes, devices), functions and modules, caches, disks and other hardware,
file system types, the kernel's version. Owners of kinds that are not known here (layers of one's own) are
replaced as a whole: what is not known to be harmless does not get out.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import replace

import polars as pl

from pageowner.snapshot.keys import owner_key
from pageowner.snapshot.model import Snapshot
from pageowner.snapshot.redact_records import mapped, redact_allocations, redact_lines, redact_states

_HARMLESS = frozenset(
    """ALLOC_PAGE BDEV_PAGE BLK_MQ_PAGE DMA_PAGE EARLY_PAGE FREE_PAGE GUARD_PAGE HUGE_ZERO_PAGE
    KERNEL_IMAGE_PAGE LARGE_KMALLOC_PAGE MEMMAP_PAGE MODULE_PAGE NO_STACK_PAGE OFFLINE_PAGE OTHER_PAGE
    PAGE_EXT_PAGE PAGE_POOL_PAGE PCP_FREE_PAGE PERCPU_PAGE RESERVED_PAGE SLAB_PAGE STACKDEPOT_PAGE
    UNKNOWN_PAGE UNOWNED_PAGE VMALLOC_PAGE ZERO_PAGE ZSMALLOC_PAGE""".split()
)
"""Kinds whose owners are named by the kernel's code and hardware alone."""
_PROCESSES = frozenset(
    """ANON_PAGE BPF_PAGE FILE_PAGE HUGETLB_PAGE IO_URING_PAGE KERNEL_STACK_PAGE KSM_PAGE PAGE_TABLE_PAGE
    PERF_PAGE PIPE_PAGE SECRETMEM_PAGE AIO_RING_PAGE SHMEM_PAGE SOCKET_PAGE SWAPCACHE_PAGE
    RING_BUFFER_PAGE""".split()
)
"""Kinds whose owners hold names of processes or files, in the forms below."""
_COMM = re.compile(r"(pid -?\d+ \()([^()]*)(\))")
_NAMED_FILES = frozenset("HUGETLB_PAGE SHMEM_PAGE SWAPCACHE_PAGE".split())
# Owners that hold no name but that of a process, and (except where files go by name) none at all.
_OF_PROCESS = re.compile(rf"(?:\w+ )?{_COMM.pattern}(?: fd \d+| and \d+ more| P\w\w)?|free pool|shmem")
_PLAIN = re.compile(
    r"kernel \w+|cached cpu\d+|irq cpu\d+|[\w.]+ \d+:\d+ ino \d+|area \d+ \S+|global|prog_pack \d+ shared"
    r"|\((?:saved_cmdlines|temporary)\)|(?:map|prog) \d+ ?"
)
_INODE = re.compile(r"(.*)( ino \d+)", re.DOTALL)
_BPF = re.compile(r"((?:map|prog) \d+ )(.+)", re.DOTALL)
_MOUNT = re.compile(r"(.*)( \([\w.]+ \d+:\d+\))", re.DOTALL)
_DEVICE = re.compile(r"[\w.]+ \d+:\d+")
_NAMED = {"place": "process"}  # the column with names, where it is not called as the grouping
_BY_ID = ("obstacle",)
"""Groupings that name owners by their id."""


class Pseudonyms:
    """Names to pseudonyms: ``process-…``, ``file-…``, a keyed hash each."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = hashlib.blake2b(key or secrets.token_bytes(32)).digest()

    def of(self, what: str, name: str) -> str:
        """The pseudonym of *name*; "" stays."""
        text = f"{what}\n{name}".encode("utf-8", "surrogatepass")
        return f"{what}-{hashlib.blake2b(text, digest_size=5, key=self._key).hexdigest()}" if name else ""

    def owner(self, word: str, owner: str) -> str:
        """An owner of kind *word* without names."""
        if word in _HARMLESS or owner == word:
            return owner
        if word not in _PROCESSES:
            return self.of("owner", owner)
        if _OF_PROCESS.fullmatch(owner):
            return self.process(owner)
        if word not in _NAMED_FILES and _PLAIN.fullmatch(owner):
            return owner
        if word == "BPF_PAGE" and (found := _BPF.fullmatch(owner)):
            return found[1] + self.of("name", found[2])
        if found := _INODE.fullmatch(owner):
            return self.of("file", found[1]) + found[2]
        return self.of("file", owner)

    def process(self, text: str) -> str:
        """*text* with each ``pid N (comm)`` in it made ``pid N (process-…)``."""
        return _COMM.sub(lambda m: m[1] + self.of("process", m[2]) + m[3], text)

    def cgroup(self, path: str) -> str:
        """A path with a pseudonym for each name in it, so that what is below what can be seen."""
        return "/".join(self.of("cgroup", name) for name in path.split("/"))

    def mount(self, text: str) -> str:
        """``points (type device)``: the device stays."""
        if _DEVICE.fullmatch(text):
            return text
        found = _MOUNT.fullmatch(text)
        return self.of("mount", found[1]) + found[2] if found else self.of("mount", text)


def redact(snapshot: Snapshot, key: bytes = b"") -> Snapshot:
    """*snapshot* without names of processes, files, cgroups and the host. Owners' ids are made anew."""
    names = Pseudonyms(key)
    told: dict[str, Callable[[str], str]] = {
        "process": names.process, "cgroup": names.cgroup, "mount": names.mount, "node": str,
        "unit": str,
    }  # fmt: skip
    owners = _owners(snapshot.owners, names)
    ids = dict(zip(snapshot.owners["id"].to_list(), owners["id"].to_list(), strict=True))
    usage = snapshot.usage.with_columns(pl.col("id").replace(ids))
    records, allocations, states = _records(snapshot, names, ids)
    return replace(
        snapshot,
        owners=owners.group_by("id", "word", "owner", maintain_order=True).agg(pl.col("pages").sum()),
        usage=usage,
        pages=_owners(snapshot.pages, names) if snapshot.pages.width else snapshot.pages,
        groupings={
            name: table.with_columns(mapped(table[_NAMED.get(name, name)], told[_NAMED.get(name, name)]))
            for name, table in snapshot.groupings.items()
            if _NAMED.get(name, name) in told  # what is not known here does not get out
        }
        | {
            name: table.with_columns(pl.col("id").replace(ids))
            for name, table in snapshot.groupings.items()
            if name in _BY_ID
        },
        records=records,
        allocations=allocations,
        states=states,
        about=_about(snapshot.about, names),
        remarks=[names.process(line) for line in snapshot.remarks],
    )


def _records(
    snapshot: Snapshot, names: Pseudonyms, ids: dict[int, int]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The tables ``records``, ``allocations`` and ``states``, where the snapshot has them."""
    records = snapshot.records
    if not records.width:
        return records, snapshot.allocations, snapshot.states
    lines = redact_lines(records.get_column("line"), names, _HARMLESS, _PROCESSES)
    return (
        records.with_columns(pl.col("id").replace(ids), lines),
        redact_allocations(snapshot.allocations, names),
        redact_states(snapshot.states, names),
    )


def _about(about: dict[str, str], names: Pseudonyms) -> dict[str, str]:
    """Without the host's name, and without the filter, which may name anything."""
    only = {"only": "a part of the pages"} if "only" in about else {}
    return {**about, "host": names.of("host", about.get("host", "")), **only}


def _owners(table: pl.DataFrame, names: Pseudonyms) -> pl.DataFrame:
    """*table* (``word``, ``owner``, perhaps ``id``) with new owners, and ids to match."""
    pairs = table.select("word", "owner").unique(maintain_order=True)
    new = [names.owner(*pair) for pair in pairs.iter_rows()]
    ids = [owner_key(word, name) for word, name in zip(pairs["word"], new, strict=True)]
    renamed = pairs.with_columns(
        pl.Series("new_owner", new, pl.String), pl.Series("new_id", ids, pl.Int64)
    )
    joined = table.join(renamed, on=["word", "owner"], how="left", maintain_order="left", nulls_equal=True)
    owned = joined.with_columns(pl.col("new_owner").alias("owner"))
    if "id" in table.columns:
        owned = owned.with_columns(pl.col("new_id").alias("id"))
    return owned.select(table.columns)
