# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names that mean the same after a reboot, on another host and under another kernel."""

from __future__ import annotations

import polars as pl

_STABLE = (
    (r"pid -?\d+ \(([^()]*)\)", "$1"),  # a process by its name
    (r"mm:0x[0-9a-f]+", "mm"),  # an address space without a task
    (r" fd \d+$", ""),
    (r"^kworker/.*$", "kworker"),  # whose name says CPU and pool
    (r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?", ""),  # offsets in functions
    (r"(?:\.(?:constprop|isra|part|cold)(?:\.\d+)?)+", ""),  # the compiler's suffixes
    (r"_noprof\b", ""),  # 6.10: allocation profiling
    (r" 0x[0-9a-f]{9,16}", ""),  # addresses
    (r"^(map|prog) \d+ ?", "$1 "),  # BPF ids
    (r" and \d+ more$", ""),
)
_SHMEM_INODE = r" ino \d+$"
_ALLOCATOR = (
    r"^(?:(?:post_alloc_hook|prep_new_page|get_page_from_freelist|__set_page_owner\w*|__?alloc_(?:frozen_)?"
    r"pages\w*|__alloc_pages\w*|alloc_pages\w*|__folio_alloc\w*|folio_alloc\w*|vma_alloc_folio\w*"
    r"|__get_free_pages\w*|get_zeroed_page\w*|alloc_slab_page|allocate_slab|new_slab|___slab_alloc"
    r"|__slab_alloc\w*)\n)+"
)


def stable_name(word: pl.Expr, owner: pl.Expr) -> pl.Expr:
    """*owner* without process ids, file descriptors, offsets and addresses.

    Inode numbers stay where a disk keeps them; those of shmem (kind *word*) are new with every boot.
    """
    for pattern, text in _STABLE:
        owner = owner.str.replace_all(pattern, text)
    shmem = owner.str.replace(_SHMEM_INODE, "")
    return pl.when(word == "SHMEM_PAGE").then(shmem).otherwise(owner).str.strip_chars()


def short_stack(functions: pl.Expr) -> pl.Expr:
    """``a < b < c`` of a stack's functions, without the page and slab allocators at its inner end."""
    return functions.str.replace(_ALLOCATOR, "").str.replace_all("\n", " < ", literal=True)


def allocator_frames(functions: pl.Expr) -> pl.Expr:
    """How many functions at the stack's inner end are the page and slab allocators' own."""
    return functions.str.extract(f"({_ALLOCATOR})").fill_null("").str.count_matches("\n")
