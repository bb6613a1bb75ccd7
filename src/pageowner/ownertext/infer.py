# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a page is, as far as its allocating stack tells: for texts that do not say it themselves.

A stack says who asked for the page, not what became of it: an anonymous page that was migrated has the stack
of the migration, a page-cache page of a block device looks like any other. So every answer is marked
``inferred``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pageowner.kernel.callers import call_site, is_large_kmalloc, is_wrapper

WORDS: tuple[tuple[str, str], ...] = (
    ("EARLY_PAGE", r"register_early_stack|init_pages_in_zone|init_early_allocated_pages"),
    ("SLAB_PAGE", r"allocate_slab|new_slab|alloc_slab_page|cache_grow\w*|kmem_getpages|__slab_alloc"),
    ("LARGE_KMALLOC_PAGE", r"_*kmalloc_large\w*|kmalloc_order\w*"),
    ("STACKDEPOT_PAGE", r"_*stack_depot_save\w*|depot_alloc_stack|register_(dummy|failure)_stack"),
    ("PERCPU_PAGE", r"pcpu_alloc_pages|pcpu_populate_chunk|pcpu_balance_workfn|pcpu_create_chunk"),
    ("KERNEL_STACK_PAGE", r"alloc_thread_stack\w*|dup_task_struct|copy_process"),
    (
        "PAGE_TABLE_PAGE",
        r"_*pte_alloc\w*|_*pmd_alloc\w*|_*pud_alloc\w*|_*p4d_alloc\w*|_*pgd_alloc\w*|_pgd_alloc"
        r"|pagetable_(pte|pmd|pud|p4d|pgd)\w*|alloc_(low|pte|pmd|pgt)_page\w*|spp_getpage|pti_user_pagetable\w*"
        r"|__change_page_attr\w*|split_large_page|populate_(pte|pmd|pud|pgd)|vmemmap_\w+_populate",
    ),
    (
        "HUGETLB_PAGE",
        r"alloc_(buddy|fresh|surplus|gigantic|pool|migrate)_huge\w*"
        r"|alloc_(buddy_)?hugetlb_folio\w*",
    ),
    (
        "BPF_PAGE",
        r"bpf_prog_pack_alloc|bpf_jit_\w+|bpf_(dispatcher|trampoline)_\w+"
        r"|bpf_prog_alloc\w*|bpf_map_area_alloc|\w+_map_alloc|_*bpf_map_\w+|bpf_ringbuf\w*",
    ),
    ("MODULE_PAGE", r"module_alloc|module_memory_alloc|execmem_alloc\w*|layout_and_allocate|move_module"),
    ("VMALLOC_PAGE", r"_*vmalloc\w*|_*vzalloc\w*|_*vm_area_alloc_pages|_*kvmalloc\w*|vmap_pages\w*"),
    (
        "RING_BUFFER_PAGE",
        r"__rb_allocate_pages|rb_allocate_cpu_buffer"
        r"|ring_buffer_alloc\w*|ring_buffer_resize|allocate_cmdlines_buffer",
    ),
    ("BLK_MQ_PAGE", r"blk_mq_alloc_rqs|blk_mq_alloc_map_and_rqs"),
    ("PERF_PAGE", r"perf_mmap_alloc_page|rb_alloc(_aux)?(_page)?"),
    ("PAGE_POOL_PAGE", r"page_pool_alloc\w*|__page_pool_alloc\w*"),
    ("ZSMALLOC_PAGE", r"alloc_zspage|zs_malloc"),
    (
        "IO_URING_PAGE",
        r"io_uring_setup|io_allocate_scq_urings"
        r"|io_region_allocate\w*|io_create_region\w*|io_pages_map|io_mem_alloc\w*",
    ),
    ("AIO_RING_PAGE", r"aio_setup_ring|ioctx_alloc"),
    ("SECRETMEM_PAGE", r"secretmem_fault"),
    ("PIPE_PAGE", r"(anon_)?pipe_write|pipe_get_page\w*|iter_file_splice_write|copy_splice_read"),
    (
        "SOCKET_PAGE",
        r"_*netdev_alloc_\w+|_*napi_alloc_\w+|alloc_skb_with_frags|sk_page_frag_refill|skb_page_frag_refill"
        r"|packet_set_ring|alloc_one_pg_vec_page|sock_alloc_send_pskb|_*alloc_skb",
    ),
    ("OFFLINE_PAGE", r"balloon_page_alloc\w*|update_balloon_size_func|fill_balloon|vmballoon_\w+"),
    (
        "DMA_PAGE",
        r"vring_alloc_queue\w*|_*dma_(direct_)?alloc\w*"
        r"|dma_pool_alloc|dmam_alloc\w*|__iommu_dma_alloc\w*",
    ),
    ("HUGE_ZERO_PAGE", r"(mm_)?get_huge_zero_(page|folio)"),
    ("SHMEM_PAGE", r"shmem_\w+"),
    ("KSM_PAGE", r"ksm_\w+|try_to_merge_\w+|ksm_scan_thread"),
    (
        "SWAPCACHE_PAGE",
        r"_*read_swap_cache_async|swapin_\w+"
        r"|swap_cluster_readahead|swap_vma_readahead|swap_cache_alloc\w*",
    ),
    ("BDEV_PAGE", r"blkdev_\w+|bdev_\w+|grow_buffers|grow_dev_folio|__getblk\w*|bdev_getblk"),
    (
        "ANON_PAGE",
        r"do_anonymous_page|alloc_anon_folio|wp_page_copy|do_wp_page|do_cow_fault|alloc_zeroed_user_highpage\w*"
        r"|do_huge_pmd_anonymous_page|__do_huge_pmd_anonymous_page|vma_alloc_anon_folio\w*|do_swap_page"
        r"|copy_present_pt\w*|copy_pte_range|mfill_atomic\w*|shadow_stack\w*|get_arg_page|setup_arg_pages"
        r"|collapse_huge_page|alloc_charge_(hpage|folio)|khugepaged\w*|do_huge_pmd_wp_page"
        r"|do_pte_missing|_*handle_mm_fault|handle_pte_fault|do_fault",
    ),
    (
        "FILE_PAGE",
        r"filemap_\w+|__filemap_\w+|pagecache_get_page|grab_cache_page\w*|page_cache_\w+|read_pages"
        r"|force_page_cache_ra|ondemand_readahead|do_read_cache_(page|folio)|read_cache_(page|folio)\w*"
        r"|simple_write_begin|ramfs_\w+|iomap_(get_folio|write\w*|read\w*|file\w*)|generic_perform_write|grab_cache_page_write_begin"
        r"|__page_cache_alloc|add_to_page_cache\w*|__do_page_cache_readahead",
    ),
)  # fmt: skip
"""(word, pattern of whole function names): the innermost frame that any of them matches decides. A page that
a fault handler asks for itself (compilers inline do_anonymous_page() and do_cow_fault() into it) is
anonymous: pages of files come from the page cache's functions further in."""

_EARLY = "before page_owner was up"
# Words for helpers that work for others: a caller of theirs, not far out, says more.
_REFINED = {
    "VMALLOC_PAGE": {"KERNEL_STACK_PAGE", "BPF_PAGE", "MODULE_PAGE", "RING_BUFFER_PAGE", "SOCKET_PAGE"},
    "MODULE_PAGE": {"BPF_PAGE"},
    "FILE_PAGE": {"BDEV_PAGE", "AIO_RING_PAGE"},
    "LARGE_KMALLOC_PAGE": {"SOCKET_PAGE"},
}
_FAR = 8
_TABLE = re.compile("|".join(f"(?P<{word}>{pattern})" for word, pattern in WORDS))
_MODULE = re.compile(rb" \[([^\]\s]+)\]$", re.MULTILINE)


@dataclass(frozen=True)
class Guess:
    """``word``; ``owner``: the call site that asked; ``module`` of the first frame that is in one, or ""."""

    word: str
    owner: str
    module: str


def guess(frames: bytes) -> Guess:
    """What a page with this stack probably is.

    :param frames: the stack's lines, each with its leading space and newline.
    """
    lines = [line.decode("utf-8", "backslashreplace")[1:] for line in frames.split(b"\n") if line]
    module = _module(frames)
    if not lines:
        return Guess("NO_STACK_PAGE", "no stack", module)
    names = [line.partition("+")[0].partition(".")[0] for line in lines]
    at = _caller(names)
    word = _word(names, at)
    return Guess(word, _EARLY if word == "EARLY_PAGE" else call_site(lines[at]), module)


def _word(names: list[str], caller: int) -> str:
    """By the innermost frame that the table knows, but none further out than who asked and its caller."""
    found = [match.lastgroup if (match := _TABLE.fullmatch(name)) else None for name in names]
    first = next((at for at, word in enumerate(found[: caller + 2]) if word), None)
    if first is None:
        return "ALLOC_PAGE"
    word = str(found[first])
    for further in found[first + 1 : caller + _FAR]:
        if further in _REFINED.get(word, ()):
            word = str(further)
    return word


def _caller(names: list[str]) -> int:
    """Which frame asked: the first that is not an allocator's own; else the outermost."""
    for at, name in enumerate(names):
        if not (is_wrapper(name) or is_large_kmalloc(name)):
            return at
    return len(names) - 1


def _module(frames: bytes) -> str:
    found = _MODULE.search(frames)
    return found.group(1).decode("utf-8", "backslashreplace") if found else ""
