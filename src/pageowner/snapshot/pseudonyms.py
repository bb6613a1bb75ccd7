# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pseudonyms for names of processes, files and cgroups, wherever they stand in an owner's name."""

from __future__ import annotations

import hashlib
import re
import secrets

HARMLESS = frozenset(
    """ALLOC_PAGE BDEV_PAGE BLK_MQ_PAGE DMA_PAGE EARLY_PAGE FREE_PAGE GUARD_PAGE HUGE_ZERO_PAGE
    KERNEL_IMAGE_PAGE LARGE_KMALLOC_PAGE MEMMAP_PAGE MODULE_PAGE NO_STACK_PAGE OFFLINE_PAGE OTHER_PAGE
    PAGE_EXT_PAGE PAGE_POOL_PAGE PCP_FREE_PAGE PERCPU_PAGE RESERVED_PAGE SLAB_PAGE STACKDEPOT_PAGE
    UNKNOWN_PAGE UNOWNED_PAGE VMALLOC_PAGE ZERO_PAGE ZSMALLOC_PAGE""".split()
)
"""Kinds whose owners are named by the kernel's code and hardware alone."""
OF_USERS = frozenset(
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
        if word in HARMLESS or owner == word:
            return owner
        if word not in OF_USERS:
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
