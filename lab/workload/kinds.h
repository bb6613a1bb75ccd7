// SPDX-License-Identifier: LGPL-2.1-or-later
// The makers of pages. One process each; main.c has the order.
#ifndef KINDS_H
#define KINDS_H
#include "lab.h"

void w_anon(void), w_zero(void), w_far(void), w_odd_comm(void), w_poison(void), w_secret(void);
void w_file(void), w_tmpfs(void), w_overlay(void), w_bdev(void);
void w_memfd(void), w_sysv(void), w_shared_anon(void);
void w_thp(void), w_thp_shmem(void), w_hugetlb(void);
void w_ksm(void);
void w_swap_disk(void), w_zswap(void), w_swap_file(void), w_swap_zram(void);
void w_fork(void), w_threads(void), w_many_threads(void), w_leader(void), w_clone_vm(void), w_orphan(void);
void w_pid_reuse(void), w_tree(void);
void w_pipe(void), w_aio(void), w_io_uring(void), w_perf(void), w_trace(void), w_brd(void);
void w_socket(void), w_page_pool(void), w_packet_ring(void);
void w_bpf_maps(void), w_bpf_prog(void);
int make_cgroups(void);
void w_cgroup(void), w_dying(void);

#endif
