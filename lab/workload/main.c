// SPDX-License-Identifier: LGPL-2.1-or-later
// workload PORT [cgroups] [tree]: start every maker of pages, let all of them tell their truth through PORT, then wait for ever.
#include "kinds.h"
#include <sys/resource.h>

struct worker { const char *comm; void (*setup)(void); };

static const struct worker workers[] = {
    {"w_anon", w_anon}, {"w_zero", w_zero}, {"w_far", w_far}, {"w_odd_comm", w_odd_comm},
    {"w_file", w_file}, {"w_tmpfs", w_tmpfs}, {"w_overlay", w_overlay}, {"w_bdev", w_bdev},
    {"w_memfd", w_memfd}, {"w_sysv", w_sysv}, {"w_shared_anon", w_shared_anon},
    {"w_thp", w_thp}, {"w_thp_shmem", w_thp_shmem}, {"w_hugetlb", w_hugetlb},
    {"w_fork", w_fork}, {"w_threads", w_threads}, {"w_many_threads", w_many_threads}, {"w_leader", w_leader},
    {"w_clone_vm", w_clone_vm}, {"w_orphan", w_orphan}, {"w_pid_reuse", w_pid_reuse},
    {"w_bpf_maps", w_bpf_maps}, {"w_bpf_prog", w_bpf_prog},
    {"w_ksm", w_ksm}, {"w_swap_disk", w_swap_disk}, {"w_zswap", w_zswap}, {"w_swap_file", w_swap_file},
    {"w_swap_zram", w_swap_zram}, {"w_pipe", w_pipe}, {"w_aio", w_aio}, {"w_io_uring", w_io_uring}, {"w_perf", w_perf},
    {"w_trace", w_trace}, {"w_brd", w_brd}, {"w_socket", w_socket}, {"w_page_pool", w_page_pool},
    {"w_packet_ring", w_packet_ring}, {"w_secret", w_secret}, {"w_poison", w_poison},
};

// Only with the word "cgroups": reading page_owner oopses on some kernels when pages are charged to a child cgroup.
static const struct worker charged[] = {{"w_cgroup", w_cgroup}, {"w_dying", w_dying}};

static void start_all(const struct worker *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        printf("LAB %s\n", list[i].comm);
        start(list[i].comm, list[i].setup);
    }
}

static const struct worker families[] = {{"w_tree", w_tree}};

static int asked(char **words, const char *word)
{
    while (*words && strcmp(*words, word))
        words++;
    return *words != NULL;
}

#define START(list) start_all(list, sizeof list / sizeof *list)

int main(int argc, char **argv)
{
    if (argc < 2 || dup2(open(argv[1], O_WRONLY), 3) < 0)
        return 1;
    setvbuf(stdout, NULL, _IONBF, 0);
    // 5.10 counts BPF maps and programs as locked memory.
    setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    init_holders();
    START(workers);
    if (asked(argv + 2, "tree"))
        START(families);
    if (asked(argv + 2, "cgroups")) {
        if (make_cgroups())
            skip("cgroup", strerror(errno));
        START(charged);
    }
    nap(500);
    emit_all();
    puts("LAB truth told");
    for (;;)
        pause();
}
