// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory that changes as fast as it can, beside memory that stays (tests/sources/live_rounds.py looks at both).
//
// No address is used twice, by no process: a page that is at the same place before and after a scan was there
// meanwhile. (The allocator gives a page back at once, and mmap() an address: else both could come back.)
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define KEPT 256

static uintptr_t next_address = 0x10000000000;

// Where nothing has been yet.
static void *fresh(size_t size)
{
    void *at = (void *)next_address;
    next_address += (size + 0x1fffff) & ~0x1fffffUL;
    return at;
}

static char *anon(size_t pages, int flags)
{
    char *p = mmap(fresh(pages * PAGE), pages * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | flags, -1, 0);
    if (p == MAP_FAILED)
        _exit(1);
    return p;
}

static void fill(char *p, size_t pages, unsigned seed)
{
    for (size_t i = 0; i < pages; i++)
        for (unsigned j = 0; j < PAGE; j += 64)
            *(unsigned *)(p + i * PAGE + j) = seed += 2654435761u;
}

// Every fourth page stays a while, in the same page tables as those that go.
static void allocate_and_free(void)
{
    static char *kept[KEPT];
    for (unsigned round = 0;; round++) {
        char *p = anon(64, 0);
        fill(p, 64, round);
        for (unsigned i = 0; i < 64; i++)
            if (i % 4)
                munmap(p + i * PAGE, PAGE);
        char **slot = &kept[round % KEPT];
        if (*slot)
            munmap(*slot, 64 * PAGE);
        *slot = p;
    }
}

static void fork_and_exit(void)
{
    char *shared = anon(128, 0);
    fill(shared, 128, 1);
    for (unsigned round = 0;; round++) {
        char *p = anon(32, 0);
        fill(p, 32, round);
        if (!fork()) {
            fill(p, 8, round + 1);          // copied on write
            if (!fork()) {
                fill(anon(16, 0), 16, round);
                _exit(0);
            }
            wait(NULL);
            _exit(0);
        }
        fill(p + 16 * PAGE, 8, round + 2);
        wait(NULL);
        munmap(p, 32 * PAGE);
    }
}

static void move(void)
{
    char *p = anon(96, 0);
    fill(p, 96, 3);
    for (;;) {
        // Each half on its own, so that page tables are split and joined.
        char *to = fresh(96 * PAGE);
        for (unsigned i = 0; i < 2; i++)
            if (mremap(p + i * 48 * PAGE, 48 * PAGE, 48 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                       to + i * 48 * PAGE) == MAP_FAILED)
                _exit(1);
        p = to;
    }
}

static void put(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY);
    if (fd >= 0 && write(fd, value, strlen(value)) < 0)
        perror(path);
    close(fd);
}

static void merge(void)
{
    put("/sys/kernel/mm/ksm/pages_to_scan", "2000");
    put("/sys/kernel/mm/ksm/sleep_millisecs", "10");
    put("/sys/kernel/mm/ksm/run", "1");
    char *stays = anon(64, 0);
    madvise(stays, 64 * PAGE, MADV_MERGEABLE);
    for (unsigned i = 0; i < 64; i++)
        memset(stays + i * PAGE, 's' + i % 2, PAGE);
    for (unsigned round = 0;; round++) {
        char *p = anon(64, 0);
        madvise(p, 64 * PAGE, MADV_MERGEABLE);
        for (unsigned i = 0; i < 64; i++)
            memset(p + i * PAGE, 'a' + i % 3, PAGE);
        usleep(100000);
        for (unsigned i = 0; i < 64; i += 2)
            p[i * PAGE] = (char)round;      // unmerged by writing
        munmap(p, 64 * PAGE);
    }
}

static void swap(void)
{
    for (unsigned round = 0;; round++) {
        char *p = anon(128, 0);
        fill(p, 128, round);
        madvise(p, 128 * PAGE, MADV_PAGEOUT);
        for (unsigned i = 0; i < 128; i += 3)
            p[i * PAGE]++;                  // swapped in again
        munmap(p, 128 * PAGE);
    }
}

static void files(void)
{
    char name[64];
    for (unsigned round = 0;; round++) {
        snprintf(name, sizeof name, "/tmp/busy.%d.%u", getpid(), round);
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || ftruncate(fd, 64 * PAGE))
            _exit(1);
        char *p = mmap(fresh(64 * PAGE), 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
        fill(p, 64, round);
        if (ftruncate(fd, 8 * PAGE))
            _exit(1);
        munmap(p, 64 * PAGE);
        unlink(name);
        close(fd);
    }
}

// Nothing happens here: a third of each sort of page, for comparison.
static void stay(void)
{
    char *p = anon(512, 0), *shared = mmap(fresh(256 * PAGE), 256 * PAGE, PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    fill(p, 512, 7);
    fill(shared, 256, 8);
    if (!fork())
        for (;;)
            pause();
    for (;;)
        pause();
}

static const struct { const char *name; void (*work)(void); } WORKERS[] = {
    {"b_allocate", allocate_and_free}, {"b_fork", fork_and_exit}, {"b_move", move}, {"b_merge", merge},
    {"b_swap", swap}, {"b_files", files}, {"b_stay", stay},
};

int main(void)
{
    for (unsigned i = 0; i < sizeof WORKERS / sizeof *WORKERS; i++) {
        // Each has addresses of its own.
        next_address += 0x40000000000;
        if (fork())
            continue;
        prctl(PR_SET_NAME, WORKERS[i].name);
        WORKERS[i].work();
    }
    puts("busy");
    fflush(stdout);
    for (;;)
        pause();
}
