// SPDX-License-Identifier: LGPL-2.1-or-later
// Huge pages: transparent (whole, mapped by small entries, split, of shmem), zero, hugetlb.
#include "kinds.h"

static char *thp(const char *kind)
{
    char *p = aligned(HUGE, 0);
    madvise(p, HUGE, MADV_HUGEPAGE);
    p[0] = 1;
    uint64_t first = pagemap_entry(p), last = pagemap_entry(p + HUGE - PAGE);
    if (!(first >> 63) || !(last >> 63)) {
        skip(kind, "no huge page was given");
        return NULL;
    }
    fill(p, HUGE, 300);
    return p;
}

void w_thp(void)
{
    char *p = thp("thp");
    if (p)
        claim_pages("thp", p, 1, HUGE, "");
    p = thp("thp_pte");
    if (p) {
        // Only the mapping is split: one folio, mapped by 512 entries less a hole.
        mprotect(p + 8 * PAGE, PAGE, PROT_READ);
        madvise(p + 16 * PAGE, 16 * PAGE, MADV_DONTNEED);
        claim("thp_pte", p, 12, "");
    }
    p = thp("thp_split");
    if (p) {
        char words[80];
        snprintf(words, sizeof words, "%d,0x%lx,0x%lx\n", getpid(), (unsigned long)p, (unsigned long)(p + HUGE));
        if (put("/sys/kernel/debug/split_huge_pages", words))
            skip("thp_split", strerror(errno));
        else
            claim("thp_split", p, 8, "");
        madvise(p + 8 * PAGE, HUGE - 8 * PAGE, MADV_DONTNEED);
    }
    p = aligned(HUGE, 0);
    madvise(p, HUGE, MADV_HUGEPAGE);
    (void)*(volatile char *)p;
    if (pagemap_entry(p + HUGE - PAGE) >> 63)
        claim_pages("huge_zero", p, 1, HUGE, "");
    else
        skip("huge_zero", "not given");
}

void w_thp_shmem(void)
{
    int fd = memfd_create("huge", 0);
    char *p = aligned(HUGE, 0);
    if (put("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise") || ftruncate(fd, HUGE))
        skip("thp_shmem", strerror(errno));
    p = mmap(p, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    madvise(p, HUGE, MADV_HUGEPAGE);
    p[0] = 1;
    if (!(pagemap_entry(p + HUGE - PAGE) >> 63)) {
        skip("thp_shmem", "no huge page was given");
        return;
    }
    claim_pages("thp_shmem", p, 1, HUGE, "name=memfd:huge");
}

static char *huge;

static void huge_child(void)
{
    (void)*(volatile char *)huge;
}

// Of 1 GiB, where the kernel was asked to set one aside.
static void gigantic(void)
{
    int size = MAP_HUGETLB | 30 << 26;
    char words[1000] = "";
    int fd = open("/proc/cmdline", O_RDONLY);
    if (read(fd, words, sizeof words - 1) < 0)
        skip("hugetlb_1g", strerror(errno));
    close(fd);
    if (!strstr(words, "hugepagesz=1G"))
        return;
    char *p = mmap(NULL, 1UL << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | size, -1, 0);
    if (p == MAP_FAILED) {
        skip("hugetlb_1g", strerror(errno));
        return;
    }
    p[PAGE] = 1;
    claim_pages("hugetlb_1g", p, 1, 1UL << 30, "");
}

void w_hugetlb(void)
{
    gigantic();
    char *p = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (p == MAP_FAILED) {
        skip("hugetlb", strerror(errno));
        return;
    }
    p[0] = 1;
    claim_pages("hugetlb_private", p, 1, HUGE, "");
    int fd = open("/huge/file", O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, HUGE)) {
        skip("hugetlb_file", strerror(errno));
        return;
    }
    huge = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    huge[0] = 1;
    claim_pages("hugetlb_file", huge, 1, HUGE, "path=/huge/file");
    spawn(huge_child);
}
