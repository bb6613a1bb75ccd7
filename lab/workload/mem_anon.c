// SPDX-License-Identifier: LGPL-2.1-or-later
// Private anonymous memory: plain, moved, protected, locked, shared zero pages, far apart.
#include "kinds.h"

void w_anon(void)
{
    char *p = anon(8 * PAGE);
    fill(p, 8 * PAGE, 1);
    claim("anon", p, 8, "");
    char *from = anon(4 * PAGE);
    fill(from, 4 * PAGE, 2);
    char *to = anon(64 * PAGE) + 32 * PAGE;
    char *moved = mremap(from, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    claim("anon_mremap", moved, 4, "faulted_at=0x%lx", (unsigned long)from);
    char *none = anon(4 * PAGE);
    fill(none, 4 * PAGE, 3);
    mprotect(none, 4 * PAGE, PROT_NONE);
    claim("anon_prot_none", none, 4, "");
    char *locked = anon(4 * PAGE);
    fill(locked, 4 * PAGE, 4);
    mlock(locked, 4 * PAGE);
    claim("anon_mlock", locked, 4, "");
    char *holes = anon(16 * PAGE);
    for (int i = 0; i < 8; i++)
        fill(holes + 2 * i * PAGE, PAGE, 5 + i);
    claim_pages("anon_every_other", holes, 8, 2 * PAGE, "");
}

void w_zero(void)
{
    char *p = anon(4 * PAGE);
    for (int i = 0; i < 4; i++)
        (void)*(volatile char *)(p + i * PAGE);
    claim("zero", p, 4, "");
}

// One page in each of 32 gigabytes: a page table of every level for each.
void w_far(void)
{
    for (unsigned long i = 0; i < 32; i++) {
        char *p = mmap((void *)(0x100000000000 + (i << 30)), PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        fill(p, PAGE, i);
    }
    claim_pages("anon_far", (void *)0x100000000000, 32, 1UL << 30, "");
    char *high = mmap((void *)(1UL << 50), 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((uintptr_t)high < 1UL << 47) {
        munmap(high, 2 * PAGE);
        skip("anon_la57", "no 5-level paging");
        return;
    }
    fill(high, 2 * PAGE, 77);
    claim("anon_la57", high, 2, "");
}

void w_odd_comm(void)
{
    char *p = anon(3 * PAGE);
    prctl(PR_SET_NAME, "a\033[31m) (b\\c");
    fill(p, 3 * PAGE, 6);
    claim("anon_odd_comm", p, 3, "");
}

static void ignore(int number)
{
}

void w_poison(void)
{
    char *p = anon(2 * PAGE);
    signal(SIGBUS, ignore);
    fill(p, 2 * PAGE, 9);
    unsigned long pfn = pagemap_entry(p + PAGE) & ((1UL << 55) - 1);
    if (madvise(p + PAGE, PAGE, MADV_HWPOISON)) {
        skip("hwpoison", strerror(errno));
        return;
    }
    claim("anon", p, 1, "");
    claim_words("hwpoison", "pfn=0x%lx n=1", pfn);
}

// Memory that is not in the direct map.
void w_secret(void)
{
    int fd = syscall(447, 0);
    if (fd < 0 || ftruncate(fd, 4 * PAGE)) {
        skip("secretmem", strerror(errno));
        return;
    }
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memset(p, 0x5a, 3 * PAGE);
    claim_file("secretmem", p, 3, "");
}
