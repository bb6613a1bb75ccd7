// SPDX-License-Identifier: LGPL-2.1-or-later
// BPF: maps of several sorts, a program long enough to fill JIT pages.
#include "kinds.h"
#include <linux/bpf.h>

#define MAP_TYPE_ARENA 33  // 6.9 and newer: not in older headers

static int bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int map(unsigned type, unsigned key, unsigned value, unsigned entries, unsigned flags)
{
    union bpf_attr attr = {.map_type = type, .key_size = key, .value_size = value, .max_entries = entries,
                           .map_flags = flags};
    strcpy(attr.map_name, "lab");
    return bpf(BPF_MAP_CREATE, &attr);
}

static void mapped(const char *kind, int fd, int protection, unsigned n, unsigned long offset)
{
    char *p = fd < 0 ? MAP_FAILED : mmap(NULL, n * PAGE, protection, MAP_SHARED, fd, offset);
    if (p == MAP_FAILED) {
        skip(kind, strerror(errno));
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        if (protection & PROT_WRITE)
            *(volatile char *)(p + i * PAGE) = i;
        (void)*(volatile char *)(p + i * PAGE);
    }
    claim(kind, p, n, "fd=%d", fd);
}

void w_bpf_maps(void)
{
    mapped("bpf_array", map(BPF_MAP_TYPE_ARRAY, 4, 8, 2048, BPF_F_MMAPABLE), PROT_READ | PROT_WRITE, 4, 0);
    int ring = map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4 * PAGE, 0);
    mapped("bpf_ringbuf", ring, PROT_READ | PROT_WRITE, 1, 0);
    mapped("bpf_ringbuf", ring, PROT_READ, 5, PAGE);
    mapped("bpf_arena", map(MAP_TYPE_ARENA, 0, 0, 8, BPF_F_MMAPABLE), PROT_READ | PROT_WRITE, 3, 0);
    int hash = map(BPF_MAP_TYPE_HASH, 4, 512, 64, 0), percpu = map(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 1024, 16, 0);
    claim_words("bpf_hash", "fd=%d max_entries=64 value_size=512", hash);
    claim_words("bpf_percpu_array", "fd=%d max_entries=16 value_size=1024", percpu);
}

static int load(unsigned type, unsigned length, int result)
{
    static struct bpf_insn code[4000];
    union bpf_attr attr = {.prog_type = type, .insn_cnt = length + 2, .insns = (uintptr_t)code,
                           .license = (uintptr_t) "GPL"};
    for (unsigned i = 0; i < length; i++)
        code[i] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = (int)i + 1};
    code[length] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = result};
    code[length + 1] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
    strcpy(attr.prog_name, "lab");
    return bpf(BPF_PROG_LOAD, &attr);
}

void w_bpf_prog(void)
{
    put("/proc/sys/net/core/bpf_jit_enable", "1");
    int fd = load(BPF_PROG_TYPE_SOCKET_FILTER, 3000, 0);
    if (fd < 0)
        skip("bpf_prog", strerror(errno));
    else
        claim_words("bpf_prog", "fd=%d name=lab insns=3002", fd);
}
