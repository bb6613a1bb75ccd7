# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which functions only allocate for others."""

from __future__ import annotations

import pytest

from pageowner.kernel.callers import call_site, is_large_kmalloc, is_wrapper


@pytest.mark.parametrize(
    "name",
    [
        "post_alloc_hook", "get_page_from_freelist", "__alloc_pages_noprof", "__alloc_pages",
        "alloc_pages_mpol_noprof", "__alloc_frozen_pages_noprof", "alloc_pages_exact_noprof",
        "get_zeroed_page_noprof", "__get_free_pages", "___kmalloc_large_node",
        "__kmalloc_large_node_noprof", "kmalloc_order_trace", "__vmalloc_node_range_noprof",
        "__folio_alloc_noprof", "vma_alloc_folio_noprof", "kvmalloc_node", "alloc_large_system_hash",
        "dma_direct_alloc", "page_frag_alloc_align", "__alloc_pages_bulk", "new_slab",
        "alloc_pages_exact_nid", "__alloc_pages_slowpath.constprop.0", "vm_area_alloc_pages",
    ],
)  # fmt: skip
def test_wrappers(name: str) -> None:
    assert is_wrapper(name)


@pytest.mark.parametrize(
    "name",
    [
        "virtio_gpu_init", "pte_alloc_one", "pgd_alloc", "shmem_alloc_folio", "__pmd_alloc",
        "blk_mq_alloc_map_and_rqs", "vring_alloc_queue", "lzo_alloc_ctx", "alloc_pid", "kernel_clone",
        "tcp_init", "alloc_buf.constprop.0", "bpf_map_area_alloc", "sk_page_frag_refill", "pipe_write",
        "btf_check_all_metas", "kernfs_fop_open",
    ],
)  # fmt: skip
def test_users(name: str) -> None:
    assert not is_wrapper(name)


def test_large_kmalloc_of_all_times() -> None:
    names = ("kmalloc_large", "kmalloc_large_node_noprof", "___kmalloc_large_node", "kmalloc_order")
    assert all(is_large_kmalloc(name) and is_wrapper(name) for name in names)
    assert not is_large_kmalloc("__kmalloc_node_noprof") and not is_large_kmalloc("kmalloc_trace")


def test_call_site_has_no_size() -> None:
    assert call_site("virtio_gpu_init+0x12/0x40 [virtio_gpu]") == "virtio_gpu_init+0x12 [virtio_gpu]"
    assert call_site("tcp_init+0x5c/0x2f0") == "tcp_init+0x5c"
    assert call_site("0xffffffffc0001234") == "0xffffffffc0001234"
