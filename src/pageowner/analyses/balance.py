# SPDX-License-Identifier: LGPL-2.1-or-later
"""The balance sheet: each of the kernel's own counters beside a sum over our pages, and the difference."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

SCHEMA = {
    "name": pl.String,
    "kernel": pl.Int64,
    "ours": pl.Int64,
    "formula": pl.String,
    "unexplained": pl.Int64,
}

PAGE_CACHE = ("FILE_PAGE", "SHMEM_PAGE", "BDEV_PAGE", "AIO_RING_PAGE", "SECRETMEM_PAGE")


@dataclass(frozen=True)
class Formula:
    """``counter``: the kernel's, as read_counters() names it. ``plus`` and ``minus``: terms of the tally,
    which are words of kinds or sums by attribute; ``why`` explains what is not obvious."""

    name: str
    counter: str
    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()
    why: str = ""

    @property
    def text(self) -> str:
        """The formula in words: ``A + B - C``."""
        return " + ".join(self.plus) + "".join(f" - {term}" for term in self.minus)


FORMULAS = (
    Formula(
        "Present", "present", ("RAM",),
        why="System RAM of iomem_resource, in whole pages, without memory blocks that are offline",
    ),
    Formula(
        "Managed", "managed", ("RAM not reserved",), ("typed offline",),
        why="what a balloon or virtio-mem took is no longer counted (but where it gives back under pressure)",
    ),
    Formula("MemTotal", "totalram", ("RAM not reserved",), ("typed offline",)),
    Formula(
        "Managed by record", "managed",
        ("recorded", "FREE_PAGE", "PCP_FREE_PAGE", "GUARD_PAGE", "hugetlb not recorded"),
        ("typed offline",),
        why="with page_owner on, each managed page is recorded as allocated, or free, but the first one of a "
        "huge page of 1 GiB that was set aside at boot",
    ),
    Formula("MemFree", "NR_FREE_PAGES", ("FREE_PAGE",), why="without the per-CPU lists"),
    Formula("Per-CPU lists", "pcp", ("PCP_FREE_PAGE",)),
    Formula("AnonPages", "NR_ANON_MAPPED", ("anon mapped",), why="KSM pages are among them, hugetlb is not"),
    Formula(
        "Mapped", "NR_FILE_MAPPED", ("other mapped",),
        why="all that is mapped and not anonymous: page cache, the vdso, rings of drivers",
    ),
    Formula("File pages", "NR_FILE_PAGES", (*PAGE_CACHE, "swap cache")),
    Formula("Shmem", "NR_SHMEM", ("SHMEM_PAGE",)),
    Formula("SwapCached", "NR_SWAPCACHE", ("swap cache",)),
    Formula("ShmemHugePages", "NR_SHMEM_THPS", ("shmem huge",)),
    Formula("AnonHugePages", "NR_ANON_THPS", ("anon huge",)),
    Formula("SReclaimable", "NR_SLAB_RECLAIMABLE_B", ("slab reclaimable",)),
    Formula(
        "SUnreclaim", "NR_SLAB_UNRECLAIMABLE_B", ("slab unreclaimable", "large kmalloc"),
        why="large kmalloc has no page type until 6.15: without records it is not known, and is missing",
    ),
    Formula(
        "KernelStack", "NR_KERNEL_STACK_KB", ("stacks of tasks",), ("stack of init_task",),
        why="idle tasks count, but init_task's is part of the image; cached stacks do not",
    ),
    Formula("PageTables", "NR_PAGETABLE", ("typed table",), why="which levels have the type varies"),
    Formula("Percpu", "percpu", ("PERCPU_PAGE", "irq stacks")),
    Formula("VmallocUsed", "vmalloc", ("VM_ALLOC areas",), why="not what is merely mapped there"),
    Formula("VmallocUsed", "NR_VMALLOC", ("VM_ALLOC areas",)),
    Formula("HugePages_Total", "hugetlb", ("typed hugetlb",)),
    Formula("HugePages_Free", "hugetlb_free", ("hugetlb free",)),
    Formula("Inactive(anon)", "NR_INACTIVE_ANON", ("inactive anon",), why="PG_lru set: not in a CPU's batch"),
    Formula("Active(anon)", "NR_ACTIVE_ANON", ("active anon",)),
    Formula("Inactive(file)", "NR_INACTIVE_FILE", ("inactive file",)),
    Formula("Active(file)", "NR_ACTIVE_FILE", ("active file",)),
    Formula("Unevictable", "NR_UNEVICTABLE", ("unevictable",)),
    Formula("Mlocked", "NR_MLOCK", ("mlocked",)),
    Formula("Zspages", "NR_ZSPAGES", ("ZSMALLOC_PAGE",)),
)  # fmt: skip


def balance(counters: dict[str, int], terms: dict[str, int]) -> pl.DataFrame:
    """One row per formula whose counter and terms this kernel has, in pages.

    :param counters: the kernel's, from :func:`pageowner.kernel.counters.read_counters`.
    :param terms: ours, from :meth:`pageowner.snapshot.tally.Tally.terms`.
    :returns: ``name``, ``kernel``, ``ours``, ``formula``, ``unexplained`` = ``kernel`` - ``ours``.
    """
    rows = []
    for formula in FORMULAS:
        if formula.counter not in counters or not all(t in terms for t in (*formula.plus, *formula.minus)):
            continue
        ours = sum(terms[t] for t in formula.plus) - sum(terms[t] for t in formula.minus)
        kernel = counters[formula.counter]
        rows.append((formula.name, kernel, ours, formula.text, kernel - ours))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
