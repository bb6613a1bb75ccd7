// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab.h"
#include <time.h>

void *anon(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        exit(1);
    return p;
}

void fill(void *p, size_t size, unsigned seed)
{
    uint64_t x = 0x9e3779b97f4a7c15ULL * (seed + 1) ^ (uint64_t)getpid() << 40;
    for (size_t i = 0; i < size / 8; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        ((uint64_t *)p)[i] = x;
    }
}

char *aligned(size_t size, int flags)
{
    char *p = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (p == MAP_FAILED)
        exit(1);
    char *start = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
    if (start > p)
        munmap(p, start - p);
    munmap(start + size, p + HUGE - start);
    return start;
}

int make_file(const char *path, unsigned pages, unsigned seed)
{
    static char page[PAGE];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    for (unsigned i = 0; i < pages; i++) {
        fill(page, PAGE, seed + i);
        if (write(fd, page, PAGE) != (ssize_t)PAGE)
            break;
    }
    fsync(fd);
    return fd;
}

int put(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY);
    ssize_t n = fd < 0 ? -1 : write(fd, value, strlen(value));
    if (fd >= 0)
        close(fd);
    return n < 0 ? -1 : 0;
}

long get_number(const char *path)
{
    char text[64] = "";
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    return n <= 0 ? -1 : atol(text);
}

void make_marker(unsigned char out[16], const char *name)
{
    uint64_t h = 0xcbf29ce484222325ULL ^ (uint64_t)getpid();
    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3ULL;
    for (int i = 0; i < 16; i++) {
        h ^= h << 13, h ^= h >> 7, h ^= h << 17;
        out[i] = h >> 24;
    }
}

void marker_hex(char out[33], const unsigned char marker[16])
{
    for (int i = 0; i < 16; i++)
        sprintf(out + 2 * i, "%02x", marker[i]);
}

void nap(unsigned ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}
