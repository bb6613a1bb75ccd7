// SPDX-License-Identifier: LGPL-2.1-or-later
// Swap on a disk, on a disk behind zswap, in a file, on zram. The newest device has the highest priority.
#include "kinds.h"
#include <sys/swap.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

// Up to 6.13 each CPU keeps slots of the device that was best before; any swapoff gives them back.
static void forget_slots(void)
{
    if (swapon("/dev/zram1", 0) == 0)
        swapoff("/dev/zram1");
}

static int swap_on(const char *kind, const char *path, int priority)
{
    forget_slots();
    if (swapon(path, SWAP_FLAG_PREFER | priority) == 0)
        return 1;
    skip(kind, strerror(errno));
    return 0;
}

// `back` pages are read back (they may stay in the swap cache), half as many written, the rest stays out.
static char *out_and_back(char *p, unsigned n, unsigned back)
{
    madvise(p, n * PAGE, MADV_PAGEOUT);
    nap(300);
    for (unsigned i = 0; i < back; i++)
        (void)*(volatile char *)(p + i * PAGE);
    for (unsigned i = 0; i < back / 2; i++)
        p[i * PAGE] ^= 1;
    return p;
}

static void anon_swap(const char *kind, unsigned n, unsigned back, unsigned seed)
{
    char *p = anon(n * PAGE);
    char back_kind[40];
    fill(p, n * PAGE, seed);
    for (unsigned i = 0; i < n; i++)
        memset(p + i * PAGE + PAGE / 2, 0x11, PAGE / 2);
    out_and_back(p, n, back);
    snprintf(back_kind, sizeof back_kind, "%s_back", kind);
    claim(back_kind, p, back, "");
    claim(kind, p + back * PAGE, n - back, "");
}

void w_swap_disk(void)
{
    if (!swap_on("swap_disk", "/dev/vdb", 1))
        return;
    anon_swap("swap_disk", 24, 8, 400);
    int fd = memfd_create("swapped", 0);
    if (ftruncate(fd, 16 * PAGE))
        return;
    char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    fill(p, 16 * PAGE, 450);
    out_and_back(p, 16, 4);
    claim_file("swap_shmem_back", p, 4, "name=memfd:swapped");
    claim("swap_shmem", p + 4 * PAGE, 12, "name=memfd:swapped");
}

void w_zswap(void)
{
    if (put("/sys/module/zswap/parameters/enabled", "Y")) {
        skip("zswap", strerror(errno));
        return;
    }
    anon_swap("zswap", 24, 4, 500);
    put("/sys/module/zswap/parameters/enabled", "N");
}

void w_swap_file(void)
{
    if (swap_on("swap_file", "/disk/swapfile", 5))
        anon_swap("swap_file", 16, 4, 600);
}

void w_swap_zram(void)
{
    if (swap_on("swap_zram", "/dev/zram0", 10))
        anon_swap("swap_zram", 48, 8, 700);
}
