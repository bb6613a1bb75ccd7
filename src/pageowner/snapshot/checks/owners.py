# SPDX-License-Identifier: LGPL-2.1-or-later
"""Owners against struct pages: claims on free pages, owners that lead nowhere, memory cgroups, anon_vmas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import drgn
import numpy as np

from pageowner.kernel import page_type
from pageowner.kernel.memcg import Memcgs
from pageowner.kernel.target import PAGE_SHIFT, Kernel
from pageowner.kernel.units import read_layout, units_of
from pageowner.layers.base import Band
from pageowner.snapshot.checks.view import I64, U64, Findings, View, nothing
from pageowner.snapshot.claims import Canvas, Table, Walked
from pageowner.snapshot.scan import LayerRun, Unknown

# Layers whose owners have their pages alone. (Several BPF programs, modules or CPUs share pages.)
_ALONE = ("VMALLOC_PAGE", "KERNEL_STACK_PAGE", "PAGE_TABLE_PAGE", "RING_BUFFER_PAGE", "PERF_PAGE")


def stale_claim(view: View) -> Iterator[Findings]:
    """Nobody lists a free page as his own."""
    if not view.free.any():
        return
    for run in view.scan.runs:
        if run.layer.band == Band.FREE:
            continue
        for walked in (run.walked, run.held):
            if walked is not None:
                yield _stale(view, run, walked)


def _stale(view: View, run: LayerRun, walked: Walked) -> Findings:
    table = walked.between(view.start, view.start + view.n - 1)
    if not len(table.pfn):
        return nothing("stale-claim")
    canvas = Canvas.of(view.pages)
    canvas.paint(0, table)
    bad = np.flatnonzero((canvas.layer == 0) & view.free)

    def text(index: int) -> str:
        key = table.key[canvas.claim[bad[index] : bad[index] + 1]]
        row = int(run.owners.rows(key)[0])
        owner = run.owners.frame.get_column("owner")[row]
        return f"is free ({view.word(int(bad[index]))}), but {run.word} {owner} claims it"

    return Findings("stale-claim", bad + view.start, text)


def two_owners(view: View) -> Iterator[Findings]:
    """No page is listed twice by owners that share nothing: two vmalloc areas, two stacks, two tables."""
    for run in view.scan.runs:
        if run.word not in _ALONE or run.walked is None:
            continue
        table = run.walked.between(view.start, view.start + view.n - 1)
        low = np.clip(table.pfn - view.start, 0, view.n)
        high = np.clip(table.pfn + table.n - view.start, 0, view.n)
        ends = np.bincount(low, minlength=view.n + 1) - np.bincount(high, minlength=view.n + 1)
        bad = np.flatnonzero(np.cumsum(ends)[: view.n] > 1)
        yield Findings("two-owners", bad + view.start, _both(run, table, bad + view.start))


def _both(run: LayerRun, table: Table, pfns: I64) -> Callable[[int], str]:
    def text(index: int) -> str:
        pfn = pfns[index]
        keys = table.key[(table.pfn <= pfn) & (pfn < table.pfn + table.n)]
        names = run.owners.frame.get_column("owner").gather(run.owners.rows(keys)).to_list()
        return f"is listed {len(keys)} times as {run.word}: by {' and '.join(names)}"

    return text


def owner(view: View) -> Iterator[Findings]:
    """The structure that a page leads to is what it should be: a cache on slab_caches, an inode, …"""
    unknown = view.scan.unknown
    table = view.section.claims.get(unknown.number)
    assert isinstance(unknown.layer, Unknown)
    if table is None:
        return
    # What a layer could not do is no contradiction in memory: it is said by `layers` and on standard error.
    failures = [f"{run.word}: {run.failed or run.missing}" for run in view.scan.runs]
    reasons = unknown.layer.reasons
    wrong = [key for key, reason in enumerate(reasons) if reason not in failures]
    mine = np.flatnonzero(view.section.layer == unknown.number)
    keys = table.key[view.section.claim[mine]]
    bad, why = mine[np.isin(keys, wrong)], keys[np.isin(keys, wrong)]
    slab = np.array([view.heads.type[row] == page_type.SLAB for row in view.pages.head[bad]], np.bool_)
    for name, rows in (("slab-cache", bad[slab]), ("owner", bad[~slab])):
        kinds = why[slab] if name == "slab-cache" else why[~slab]
        yield _owner_findings(view, name, rows, [reasons[int(k)] for k in kinds])


def _owner_findings(view: View, name: str, at: Any, reasons: list[str]) -> Findings:
    return Findings(name, at + view.start, lambda i: reasons[i])


def memcg(view: View) -> Iterator[Findings]:
    """The word that says who pays for a page leads to a memory cgroup."""
    heads, memcgs = view.heads, view.kernel.memo(_memcgs)
    if memcgs is None or "memcg" not in (heads.rows.dtype.names or ()):
        return
    rows = view.local[(heads.refcount[view.local] > 0) & ~heads.torn[view.local]]
    words = np.ascontiguousarray(heads.rows["memcg"][rows])
    charges = memcgs.charges(words)
    lost = charges.word[(charges.memcg == 0) & ~charges.slab]
    bad = rows[np.isin(words, lost)]
    yield Findings(
        "memcg",
        heads.pfn[bad],
        lambda i: f"memcg_data 0x{int(heads.rows['memcg'][bad[i]]):x} leads to no memory cgroup",
    )


def anon_vma(view: View) -> Iterator[Findings]:
    """An anonymous page that is mapped leads to an anon_vma: an object of the cache of that name."""
    heads, cache = view.heads, view.kernel.memo(_anon_vma_cache)
    if not cache:
        return
    rows = view.local[(heads.type[view.local] == page_type.NONE) & ~heads.torn[view.local]]
    rows = rows[(heads.mapping_bits[rows] == 1) & (view.mapcounts[rows] > 0) & (heads.refcount[rows] > 0)]
    pointers = heads.mapping[rows] - np.uint64(1)
    unique, inverse = np.unique(pointers, return_inverse=True)
    bad = rows[(_cache_of(view.kernel, unique) != np.uint64(cache))[inverse]]
    yield Findings(
        "anon-vma",
        heads.pfn[bad],
        lambda i: f"is anonymous and mapped, but its mapping 0x{int(heads.mapping[bad[i]]):x} is no anon_vma",
    )


def _cache_of(kernel: Kernel, pointers: U64) -> U64:
    """The slab cache that each address is an object of; 0 for what is in no slab."""
    physical, linear = kernel.linear_to_phys(pointers)
    pfn = np.where(linear, (physical >> np.uint64(PAGE_SHIFT)).astype(np.int64), -1)
    layout = kernel.memo(read_layout)
    units = units_of(kernel, pfn)
    rows, ok = kernel.gather(layout.sections.page_address(units.pfn), layout.dtype)
    caches = np.where(ok & (units.type == page_type.SLAB), rows["slab_cache"], 0).astype(np.uint64)
    return np.where(units.row >= 0, np.append(caches, np.uint64(0))[units.row], np.uint64(0))


def _memcgs(kernel: Kernel) -> Memcgs | None:
    try:
        return Memcgs(kernel)
    except LookupError:
        return None


def _anon_vma_cache(kernel: Kernel) -> int:
    try:
        return int(kernel.object("anon_vma_cachep"))
    except (LookupError, drgn.FaultError):
        return 0
