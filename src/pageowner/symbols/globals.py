# SPDX-License-Identifier: LGPL-2.1-or-later
"""The C types of the kernel's global variables that we read: BTF does not have them.

To read another global, add a row. Most have the same type in all kernels and are one line of
:data:`SAME`. One whose type changed goes into :data:`CHANGED`: its types, each with what tells that it is
this one; the last needs nothing. Function pointers cannot be written: use ``void *``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from drgn import FindObjectFlags, Object, Program, Type

from pageowner.symbols.btf_types import BtfTypes
from pageowner.symbols.table import SymbolTable

# ``[]``: how long the array is has to come from elsewhere (an enumerator, VMCOREINFO, a terminator).
SAME: dict[str, str] = {
    # tasks, namespaces, CPUs
    "init_task": "struct task_struct",
    "init_pid_ns": "struct pid_namespace",
    "init_mm": "struct mm_struct",
    "init_nsproxy": "struct nsproxy",
    "init_uts_ns": "struct uts_namespace",
    "init_user_ns": "struct user_namespace",
    "init_ipc_ns": "struct ipc_namespace",
    "init_net": "struct net",
    "net_namespace_list": "struct list_head",
    "init_fs": "struct fs_struct",
    "init_files": "struct files_struct",
    "__per_cpu_offset": "unsigned long []",
    # Per-CPU: BTF has their types, but not that of kernels built with old tools (Debian's 5.10).
    "runqueues": "struct rq",
    "cached_stacks": "struct vm_struct *[2]",
    "irq_stack_backing_store": "struct irq_stack",
    "vm_event_states": "struct vm_event_state",
    "__cpu_possible_mask": "struct cpumask",
    "__cpu_online_mask": "struct cpumask",
    "__cpu_present_mask": "struct cpumask",
    "cpu_bit_bitmap": "const unsigned long [65][1]",
    "nr_cpu_ids": "unsigned int",
    "nr_node_ids": "unsigned int",
    "saved_command_line": "char *",
    "jiffies_64": "u64",
    "avenrun": "unsigned long [3]",
    "task_state_array": "const char *const [9]",
    "task_struct_cachep": "struct kmem_cache *",
    "mm_cachep": "struct kmem_cache *",
    "vm_area_cachep": "struct kmem_cache *",
    "anon_vma_cachep": "struct kmem_cache *",
    "dentry_cache": "struct kmem_cache *",
    "inode_cachep": "struct kmem_cache *",
    "filp_cachep": "struct kmem_cache *",
    "names_cachep": "struct kmem_cache *",
    "poking_mm": "struct mm_struct *",
    "text_poke_mm": "struct mm_struct *",
    "efi_mm": "struct mm_struct",
    "tainted_mask": "unsigned long",
    "log_buf": "char *",
    "_brk_end": "unsigned long",
    # memory map
    "page_offset_base": "unsigned long",
    "vmemmap_base": "unsigned long",
    "vmalloc_base": "unsigned long",
    "phys_base": "unsigned long",
    "physical_mask": "phys_addr_t",
    "max_pfn": "unsigned long",
    "min_low_pfn": "unsigned long",
    "max_low_pfn": "unsigned long",
    "high_memory": "void *",
    "mem_section": "struct mem_section **",
    "__highest_present_section_nr": "unsigned long",
    "node_states": "nodemask_t [6]",
    "node_data": "struct pglist_data *[]",
    "memblock": "struct memblock",
    "iomem_resource": "struct resource",
    "crashk_res": "struct resource",
    "crashk_low_res": "struct resource",
    "sections_per_block": "int",
    "e820_table": "struct e820_table *",
    "e820_table_kexec": "struct e820_table *",
    "e820_table_firmware": "struct e820_table *",
    "boot_params": "struct boot_params",
    "initrd_start": "unsigned long",
    "initrd_end": "unsigned long",
    "real_mode_header": "struct real_mode_header *",
    "numa_distance": "u8 *",
    "numa_distance_cnt": "int",
    "io_tlb_default_mem": "struct io_tlb_mem",
    "pgd_list": "struct list_head",
    "pgd_lock": "spinlock_t",
    # page_owner, page_ext, stack depot
    "page_ext_size": "unsigned long",
    "page_owner_ops": "struct page_ext_operations",
    "page_owner_inited": "struct static_key_false",
    "failure_handle": "depot_stack_handle_t",
    "dummy_handle": "depot_stack_handle_t",
    "early_handle": "depot_stack_handle_t",
    "depot_index": "int",
    "pool_index": "int",
    "pools_num": "int",
    "pool_offset": "size_t",
    "stack_max_pools": "unsigned int",
    "stack_list": "struct stack *",
    "dummy_stack": "struct stack",
    "failure_stack": "struct stack",
    "new_pool": "void *",
    "stack_hash_mask": "unsigned int",
    # counters
    "_totalram_pages": "atomic_long_t",
    "totalreserve_pages": "unsigned long",
    "totalcma_pages": "unsigned long",
    "vm_node_stat": "atomic_long_t []",
    "vm_zone_stat": "atomic_long_t []",
    "vm_numa_event": "atomic_long_t [6]",
    "vm_committed_as": "struct percpu_counter",
    "nr_vmalloc_pages": "atomic_long_t",
    "sysctl_overcommit_memory": "int",
    "sysctl_overcommit_ratio": "int",
    "sysctl_overcommit_kbytes": "unsigned long",
    "min_free_kbytes": "int",
    "sysctl_lowmem_reserve_ratio": "int []",
    "ksm_zero_pages": "atomic_long_t",
    "huge_zero_refcount": "atomic_t",
    "page_group_by_mobility_disabled": "int",
    # slab, vmalloc, percpu, swap, hugetlb, modules
    "slab_caches": "struct list_head",
    "slab_kset": "struct kset *",
    "modules": "struct list_head",
    "btf_modules": "struct list_head",
    "bpf_kallsyms": "struct list_head",
    "ftrace_mod_maps": "struct list_head",
    "vmap_area_root": "struct rb_root",
    "vmap_area_list": "struct list_head",
    "vmap_nodes": "struct vmap_node *",
    "nr_vmap_nodes": "unsigned int",
    "vmap_zone_size": "unsigned int",
    "vmlist": "struct vm_struct *",
    "pcpu_chunk_lists": "struct list_head *",
    "pcpu_nr_slots": "int",
    "pcpu_unit_size": "int",
    "pcpu_nr_units": "int",
    "pcpu_first_chunk": "struct pcpu_chunk *",
    "pcpu_reserved_chunk": "struct pcpu_chunk *",
    "pcpu_base_addr": "void *",
    "pcpu_nr_populated": "unsigned long",
    "pcpu_atom_size": "int",
    "pcpu_unit_pages": "int",
    "pcpu_unit_map": "const int *",
    "pcpu_unit_offsets": "const unsigned long *",
    "pcpu_group_offsets": "const unsigned long *",
    "pcpu_chunk_struct_size": "size_t",
    "swap_info": "struct swap_info_struct *[]",
    "nr_swapfiles": "unsigned int",
    "nr_swap_pages": "atomic_long_t",
    "total_swap_pages": "long",
    "swapper_spaces": "struct address_space *[]",
    "nr_swapper_spaces": "unsigned int []",
    "swap_active_head": "struct plist_head",
    "shmem_swaplist": "struct list_head",
    "hstates": "struct hstate []",
    "hugetlb_max_hstate": "int",
    "cma_areas": "struct cma []",
    "cma_area_count": "unsigned int",
    # files, block devices, cgroups
    "super_blocks": "struct list_head",
    "blockdev_superblock": "struct super_block *",
    "bdev_map": "struct kobj_map *",
    "anon_inode_mnt": "struct vfsmount *",
    "aio_mnt": "struct vfsmount *",
    "secretmem_mnt": "struct vfsmount *",
    "shm_mnt": "struct vfsmount *",
    "hugetlbfs_vfsmount": "struct vfsmount *[]",
    "dentry_hashtable": "struct hlist_bl_head *",
    "inode_hashtable": "struct hlist_head *",
    "d_hash_shift": "unsigned int",
    "i_hash_mask": "unsigned int",
    "mount_hashtable": "struct hlist_head *",
    "m_hash_mask": "unsigned int",
    "mountpoint_hashtable": "struct hlist_head *",
    "mp_hash_mask": "unsigned int",
    "pv_lock_hash": "void *",
    "pv_lock_hash_bits": "unsigned int",
    "sysfs_root_kn": "struct kernfs_node *",
    "class_kset": "struct kset *",
    "bus_kset": "struct kset *",
    "class_ktype": "const struct kobj_type",
    "device_ktype": "const struct kobj_type",
    "module_ktype": "const struct kobj_type",
    "memory_subsys": "const struct bus_type",
    "block_class": "const struct class",
    "cgroup_roots": "struct list_head",
    "cgrp_dfl_root": "struct cgroup_root",
    "init_css_set": "struct css_set",
    "css_set_table": "struct hlist_head [128]",
    "root_mem_cgroup": "struct mem_cgroup *",
    # pages of single owners
    "zero_pfn": "unsigned long",
    "huge_zero_page": "struct page *",
    "huge_zero_folio": "struct folio *",
    "huge_zero_pfn": "unsigned long",
    "empty_zero_page": "const u8 [4096]",
    "zero_page_pfn": "unsigned long",
    "__zero_page": "struct page *",
    "root_stable_tree": "struct rb_root *",
    "root_unstable_tree": "struct rb_root *",
    "ksm_pages_shared": "unsigned long",
    "ksm_pages_sharing": "unsigned long",
    "one_stable_tree": "struct rb_root [1]",
    "ksm_scan": "struct ksm_scan",
    "khugepaged_scan": "struct khugepaged_scan",
    "page_pools": "struct xarray",
    "pgmap_array": "struct xarray",
    "pack_list": "struct list_head",
    "pmus": "struct list_head",
    "dma_contiguous_default_area": "struct cma *",
    "hugetlb_cma": "struct cma *[]",
    "ftrace_trace_arrays": "struct list_head",
    "global_trace": "struct trace_array",
    "temp_buffer": "struct trace_buffer *",
    "savedcmd": "struct saved_cmdlines_buffer *",
    "prog_idr": "struct idr",
    "map_idr": "struct idr",
    "btf_idr": "struct idr",
    "link_idr": "struct idr",
    "zswap_pools": "struct list_head",
    "prb": "struct printk_ringbuffer *",
    # names that the kernel prints
    "pageflag_names": "const struct trace_print_flags []",
    "gfpflag_names": "const struct trace_print_flags []",
    "vmaflag_names": "const struct trace_print_flags []",
    "page_type_names": "const char *const []",
    "migratetype_names": "const char *const []",
    "migrate_reason_names": "const char *const []",
    "linux_banner": "const char []",
    "timekeeper_data": "struct tk_data [1]",
    "userspace_init_fs": "struct fs_struct *",
    "mem_cgroup_idr": "struct idr",
    "mem_cgroup_ids": "struct xarray",
    "mem_cgroup_private_ids": "struct xarray",
}


class Probe(NamedTuple):
    """What can be asked about the target to choose a type."""

    prog: Program
    symbols: SymbolTable

    def member(self, type_name: str, member: str) -> bool:
        """Whether a type has *member*, anonymous ones seen through."""
        try:
            return bool(self.prog.type(type_name).has_member(member))
        except LookupError:
            return False

    def type(self, type_name: str) -> bool:
        """Whether there is such a type."""
        try:
            return bool(self.prog.type(type_name))
        except LookupError:
            return False

    def symbol(self, name: str) -> bool:
        """Whether the kernel image has such a symbol."""
        return name in self.symbols


Test = Callable[[Probe], bool]


def _always(_: Probe) -> bool:
    return True


CHANGED: dict[str, tuple[tuple[str, Test], ...]] = {
    # 5.9 to 5.13: chunks charged to memcgs were apart
    "pcpu_nr_empty_pop_pages": (
        ("int [2]", lambda has: has.type("enum pcpu_chunk_type")),
        ("int", _always),
    ),
    # 6.17: allocated at boot, its length an option (stack_depot_max_pools)
    "stack_pools": (
        ("void **", lambda has: has.symbol("stack_max_pools")),
        ("void *[8192]", _always),
    ),
    "stack_slabs": (("void *[8192]", _always),),  # the name up to 6.2
    "stack_table": (
        ("struct list_head *", lambda has: has.member("struct stack_record", "hash_list")),  # 6.8
        ("struct stack_record **", lambda has: has.symbol("stack_hash_mask")),  # 5.18
        ("struct stack_record *[1048576]", _always),
    ),
    "file_systems": (
        ("struct hlist_head", lambda has: has.member("struct file_system_type", "list")),
        ("struct file_system_type *", _always),
    ),
    "zswap_trees": (
        ("struct zswap_tree *[]", lambda has: has.type("struct zswap_tree")),  # up to 6.8
        ("struct xarray *[]", _always),
    ),
    "ksm_mm_head": (
        ("struct ksm_mm_slot", lambda has: has.type("struct ksm_mm_slot")),  # 6.1
        ("struct mm_slot", _always),
    ),
}


def global_type(probe: Probe, name: str) -> Type | None:
    """The type of global *name* on this kernel.

    :returns: None if there is no row for it, or no row's type exists on this kernel.
    """
    for text, fits in CHANGED.get(name, ((SAME[name], _always),) if name in SAME else ()):
        if fits(probe):
            try:
                return probe.prog.type(text)
            except LookupError:
                return None
    return None


class GlobalFinder:
    """drgn's object finder over the table above, per-CPU variables, functions and enumerators."""

    def __init__(self, prog: Program, symbols: SymbolTable, types: BtfTypes) -> None:
        self._probe = Probe(prog, symbols)
        self._types = types
        self._known: dict[tuple[str, int], Object | None] = {}

    def __call__(
        self, prog: Program, name: str, flags: FindObjectFlags, filename: str | None
    ) -> Object | None:
        key = name, flags.value
        if key not in self._known:
            self._known[key] = self._find(name, flags)
        return self._known[key]

    def _find(self, name: str, flags: FindObjectFlags) -> Object | None:
        found = None
        if flags & FindObjectFlags.VARIABLE:
            found = self._variable(name)
        if found is None and flags & FindObjectFlags.CONSTANT:
            found = self._types.enumerator(name)
        if found is None and flags & FindObjectFlags.FUNCTION:
            found = self._function(name)
        return found

    def _variable(self, name: str) -> Object | None:
        try:
            address = self._probe.symbols.lookup_data(name)
        except KeyError:
            return None
        kind = global_type(self._probe, name) or self._types.variable(name)
        return None if kind is None else Object(self._probe.prog, kind, address=address)

    def _untyped_function(self, name: str) -> Type | None:
        """Old tools (Debian's 5.10) gave BTF only what can be traced: drgn asks for `vmemmap_populate`."""
        try:
            self._probe.symbols.lookup_data(name)
        except KeyError:  # it is no variable
            prog = self._probe.prog
            return prog.function_type(prog.void_type(), (), is_variadic=True)
        return None

    def _function(self, name: str) -> Object | None:
        if name not in self._probe.symbols:
            return None
        kind = self._types.function(name) or self._untyped_function(name)
        if kind is None:
            return None
        return Object(self._probe.prog, kind, address=self._probe.symbols.lookup(name))
