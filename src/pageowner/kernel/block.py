# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks and the requests that their queues keep ready (block/blk-mq.c)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pageowner.kernel.arrays import gather_words
from pageowner.kernel.lists import walk_chains, walk_lists
from pageowner.kernel.sections import read_sections
from pageowner.kernel.target import Kernel
from pageowner.kernel.xarray import xarray_entries

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
_QUEUE, _SET = "struct request_queue", "struct blk_mq_tag_set"
MOST_HW_QUEUES = 1 << 16
_MAJORS, _MOST_PROBES = 255, 1 << 20  # struct kobj_map
MAX_ORDER = 4  # of the blocks that requests are cut from, blk_mq_alloc_rqs()


def read_disks(kernel: Kernel) -> tuple[U64, list[str]]:
    """(address, name) of every ``struct gendisk``, whether it is in use or not."""
    disks = np.unique(np.concatenate([_of_inodes(kernel), _of_numbers(kernel)]))
    names, ok = kernel.gather(disks, kernel.dtype("struct gendisk", {"name": "disk_name"}))
    raw = [name.partition(b"\0")[0] for name in names["name"][ok].tolist()]
    texts = [name.decode("utf-8", "surrogateescape") for name in raw]
    return disks[ok], texts


def _of_inodes(kernel: Kernel) -> U64:
    """Disks that have a block device inode: since 22ae8ce8b892 (5.11) all, before those that are open."""
    head = int(kernel.object("blockdev_superblock")) + kernel.offset("struct super_block", "s_inodes")
    link = kernel.offset("struct inode", "i_sb_list")
    inodes = walk_lists(kernel, np.array([head], np.uint64)).node - np.uint64(link)
    first = inodes - np.uint64(kernel.offset("struct bdev_inode", "vfs_inode"))
    rows, ok = kernel.gather(first, kernel.dtype("struct bdev_inode", {"disk": "bdev.bd_disk"}))
    return np.asarray(rows["disk"][ok & (rows["disk"] != 0)], np.uint64)


def _of_numbers(kernel: Kernel) -> U64:
    """Disks by their device numbers, ``bdev_map``: a hash table that was there until 5.10.

    Where a number stands for one disk (``exact_lock()``), the probe's data is that disk.
    """
    try:
        table = int(kernel.object("bdev_map")) + kernel.offset("struct kobj_map", "probes")
        fields: dict[str, tuple[str, ...] | str] = {"lock": "lock", "disk": "data"}
        probe = kernel.dtype("struct probe", fields)
    except LookupError:
        return np.empty(0, np.uint64)
    first, _ = kernel.gather(np.arange(_MAJORS, dtype=np.uint64) * 8 + np.uint64(table), np.dtype("<u8"))
    chains = walk_chains(kernel, first[first != 0], kernel.offset("struct probe", "next"), _MOST_PROBES)
    rows, ok = kernel.gather(chains.node, probe)
    # chrdev.c has a function of the same name.
    names = {lock: kernel.symbols.name_at(lock) for lock in np.unique(rows["lock"]).tolist()}
    exact = np.array([lock for lock, name in names.items() if name == "exact_lock"], np.uint64)
    return np.asarray(rows["disk"][ok & np.isin(rows["lock"], exact)], np.uint64)


def disk_tags(kernel: Kernel, disks: U64) -> tuple[I64, U64]:
    """(index of the disk, address of the ``struct blk_mq_tags``) of all tags of *disks*' queues.

    The driver's, which disks of one controller may share, and the I/O scheduler's.
    """
    queue, _ = _members(kernel, disks, "struct gendisk", "queue")
    sets, _ = _members(kernel, queue, _QUEUE, "tag_set")
    fields: dict[str, tuple[str, ...] | str] = {"tags": "tags", "count": "nr_hw_queues"}
    rows, ok = kernel.gather(sets, kernel.dtype(_SET, fields))
    owner, _, tags = gather_words(kernel, rows["tags"], _bounded(rows["count"], ok))
    owners, found = [owner], [tags]
    for type_name, member, base in (
        (_SET, "shared_tags", sets),
        (_QUEUE, "sched_shared_tags", queue),
    ):
        if kernel.has_member(type_name, member):
            values, _ = _members(kernel, base, type_name, member)
            owners.append(np.flatnonzero(values))
            found.append(values[values != 0])
    owner, context = _contexts(kernel, queue)
    values, _ = _members(kernel, context, "struct blk_mq_hw_ctx", "sched_tags")
    owners.append(owner[values != 0])
    found.append(values[values != 0])
    return np.concatenate(owners), np.concatenate(found)


def _contexts(kernel: Kernel, queues: U64) -> tuple[I64, U64]:
    """(index of the queue, address of the ``blk_mq_hw_ctx``) of all hardware contexts."""
    if kernel.has_member(_QUEUE, "queue_hw_ctx"):
        fields: dict[str, tuple[str, ...] | str] = {"list": "queue_hw_ctx", "count": "nr_hw_queues"}
        rows, ok = kernel.gather(queues, kernel.dtype(_QUEUE, fields))
        owner, _, context = gather_words(kernel, rows["list"], _bounded(rows["count"], ok))
        return owner, context
    # 4e5cc99e1e48 ("blk-mq: manage hctx map via xarray"), 5.18
    table = kernel.offset(_QUEUE, "hctx_table")
    entries = [xarray_entries(kernel, int(q) + table)[1] if q else queues[:0] for q in queues]
    owner = np.repeat(np.arange(len(queues)), [len(e) for e in entries])
    return owner, np.concatenate([queues[:0], *entries])


def _bounded(counts: npt.NDArray[Any], ok: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    return np.where(ok & (counts <= MOST_HW_QUEUES), counts, 0)


def _members(kernel: Kernel, bases: U64, type_name: str, member: str) -> tuple[U64, npt.NDArray[np.bool_]]:
    rows, ok = kernel.gather(bases, kernel.dtype(type_name, {"value": member}))
    return np.where(ok, rows["value"], 0).astype(np.uint64), ok


def tag_pages(kernel: Kernel, tags: U64) -> tuple[I64, I64, I64]:
    """(index of the tags, first PFN, pages) of the blocks that hold the requests of *tags*."""
    heads = tags + np.uint64(kernel.offset("struct blk_mq_tags", "page_list"))
    walk = walk_lists(kernel, heads)
    pages = walk.node - np.uint64(kernel.offset("struct page", "lru"))
    pfn = kernel.memo(read_sections).page_pfn(pages)
    rows, ok = kernel.gather(pages, kernel.dtype("struct page", {"order": "private"}))
    good = ok & (pfn >= 0) & (rows["order"] <= MAX_ORDER)
    return walk.owner[good], pfn[good], np.int64(1) << rows["order"][good].astype(np.int64)
