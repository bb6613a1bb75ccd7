# SPDX-License-Identifier: LGPL-2.1-or-later
"""Blocks of memory that would be free but for a few pages that cannot be moved: who stands in the way."""

from __future__ import annotations

import polars as pl

from pageowner.analyses.diff import FREE

MOVABLE = (
    "AIO_RING_PAGE",
    "ANON_PAGE",
    "BDEV_PAGE",
    "FILE_PAGE",
    "KSM_PAGE",
    "SHMEM_PAGE",
    "SWAPCACHE_PAGE",
    "ZSMALLOC_PAGE",
)
"""Kinds that compaction moves, unless somebody pins them, which these tables do not say."""
NEVER = ("KERNEL_IMAGE_PAGE", "RESERVED_PAGE")
"""Kinds that were there before the allocator: blocks with these were never to be had."""
_NUMBERS = ("pfn", "free", "movable", "in_the_way")


def blockers(pages: pl.DataFrame, block: int) -> pl.DataFrame:
    """Blocks of *block* pages (a power of two) with something in the way, the least first.

    :param pages: runs of pages of one owner: ``pfn``, ``n``, ``word``, ``owner``.
    :returns: ``pfn`` (first of the block); its pages that are ``free``, ``movable`` and ``in_the_way``;
        ``owners`` of the last: ``word``, ``owner``, ``pages``, ``pfn`` (the first of them), most pages first.
        Blocks with holes, reserved memory or the kernel's image are left out.
    """
    cut = _by_block(pages, block)
    free, movable = pl.col("word").is_in(FREE), pl.col("word").is_in(MOVABLE)
    sums = cut.group_by("block").agg(
        pl.col("n").sum().alias("all"),
        pl.col("n").filter(free).sum().alias("free"),
        pl.col("n").filter(movable).sum().alias("movable"),
        pl.col("n").filter(~free & ~movable).sum().alias("in_the_way"),
        pl.col("word").is_in(NEVER).any().alias("never"),
    )
    wanted = sums.filter((pl.col("all") == block) & ~pl.col("never") & (pl.col("in_the_way") > 0))
    owners = (
        cut.filter(~free & ~movable)
        .group_by("block", "word", "owner")
        .agg(pl.col("n").sum().alias("pages"), pl.col("pfn").min())
        .sort("pages", "word", "owner", descending=[True, False, False])
        .group_by("block", maintain_order=True)
        .agg(pl.struct("word", "owner", "pages", "pfn").alias("owners"))
    )
    found = wanted.join(owners, on="block").with_columns(pfn=pl.col("block") * block)
    numbers = [pl.col(name).cast(pl.Int64) for name in _NUMBERS]
    return found.select(*numbers, "owners").sort("in_the_way", "movable", "pfn")


def whole(pages: pl.DataFrame, block: int) -> tuple[int, int]:
    """Blocks that are all free, and those that become so when what is movable moves."""
    cut = _by_block(pages, block)
    movable = pl.when(pl.col("word").is_in(MOVABLE)).then(1).otherwise(2)
    kind = pl.when(pl.col("word").is_in(FREE)).then(0).otherwise(movable)
    worst = cut.group_by("block").agg(kind.max().alias("worst"), pl.col("n").sum())
    full = worst.filter(pl.col("n") == block).get_column("worst")
    return int((full == 0).sum()), int((full == 1).sum())


def _by_block(pages: pl.DataFrame, block: int) -> pl.DataFrame:
    """*pages* with every run cut where a block ends, and ``block``, its number."""
    last = (pl.col("pfn") + pl.col("n") - 1) // block
    cut = pages.select("pfn", "n", "word", "owner").with_columns(
        block=pl.int_ranges(pl.col("pfn") // block, last + 1), end=pl.col("pfn") + pl.col("n")
    )
    rows = cut.explode("block")
    start = pl.max_horizontal("pfn", pl.col("block") * block)
    end = pl.min_horizontal("end", (pl.col("block") + 1) * block)
    return rows.with_columns(pfn=start, n=end - start).drop("end")
