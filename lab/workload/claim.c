// SPDX-License-Identifier: LGPL-2.1-or-later
// Ground truth: remember which pages are of which kind, and print them with the PFN of the moment.
#include "lab.h"

enum { PLAIN, FILE_PAGES, UNMAPPED, WORDS };
static struct claim {
    int how, fd;
    unsigned n;
    unsigned long step, offset;
    void *va;
    char kind[40], more[240];
} claims[32];
static unsigned n_claims;

static struct claim *add(int how, const char *kind, void *va, unsigned n, const char *more, va_list args)
{
    struct claim *c = &claims[n_claims++ % 32];
    *c = (struct claim){.how = how, .va = va, .n = n, .step = PAGE, .fd = -1};
    snprintf(c->kind, sizeof c->kind, "%s", kind);
    vsnprintf(c->more, sizeof c->more, more, args);
    return c;
}

#define ADD(how, va, n) \
    va_list args; \
    va_start(args, more); \
    struct claim *c = add(how, kind, va, n, more, args); \
    va_end(args)

void claim_pages(const char *kind, void *va, unsigned n, unsigned long step, const char *more, ...)
{
    ADD(PLAIN, va, n);
    c->step = step;
}

void claim_file(const char *kind, void *va, unsigned n, const char *more, ...)
{
    ADD(FILE_PAGES, va, n);
    (void)c;
}

void claim_unmapped(const char *kind, int fd, unsigned long offset, unsigned n, const char *more, ...)
{
    ADD(UNMAPPED, NULL, n);
    c->fd = fd;
    c->offset = offset;
}

void claim_words(const char *kind, const char *more, ...)
{
    ADD(WORDS, NULL, 1);
    (void)c;
}

void forget_claims(void)
{
    n_claims = 0;
}

void octal(char *out, const char *in)
{
    for (; *in; in++) {
        unsigned char c = *in;
        if (c <= 0x20 || c >= 0x7f || c == '\\')
            out += sprintf(out, "\\%03o", c);
        else
            *out++ = c;
    }
    *out = 0;
}

// One write per line: the port is shared by all processes, which speak in turn.
static void say(const char *format, ...)
{
    char line[900];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (write(3, line, n) != n)
        _exit(1);
}

void skip(const char *kind, const char *why)
{
    char text[200];
    octal(text, why);
    say("SKIP kind=%s pid=%d why=%s\n", kind, getpid(), text);
}

uint64_t pagemap_entry(const void *va)
{
    uint64_t entry = 0;
    // Not /proc/self: where the leader has exited only the threads still have the address space.
    int fd = open("/proc/thread-self/pagemap", O_RDONLY);
    if (pread(fd, &entry, 8, (uintptr_t)va / PAGE * 8) != 8)
        entry = 0;
    close(fd);
    return entry;
}

// " dev=254:0 ino=12 index=0x3" of the mapping around `va`
static void file_words(char *out, size_t size, uintptr_t va)
{
    static char line[600];
    FILE *maps = fopen("/proc/thread-self/maps", "r");
    *out = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long start, end, offset, ino;
        unsigned major, minor;
        if (sscanf(line, "%lx-%lx %*s %lx %x:%x %lu", &start, &end, &offset, &major, &minor, &ino) != 6)
            continue;
        if (va >= start && va < end)
            snprintf(out, size, " dev=%u:%u ino=%lu index=0x%lx", major, minor, ino, (offset + va - start) / PAGE);
    }
    if (maps)
        fclose(maps);
}

static void place(char *out, size_t size, uint64_t entry)
{
    if (entry >> 63)
        snprintf(out, size, "pfn=0x%lx", (unsigned long)(entry & ((1UL << 55) - 1)));
    else if (entry >> 62 & 1)
        snprintf(out, size, "swap=%lu:%lu", (unsigned long)entry & 31, (unsigned long)(entry >> 5 & ((1UL << 50) - 1)));
    else
        snprintf(out, size, "pfn=none");
}

static void line(const struct claim *c, void *va, int show_va)
{
    char where[64], file[120] = "", comm[20] = "", name[80], address[40] = "";
    uint64_t entry = pagemap_entry(va);
    place(where, sizeof where, entry);
    if (c->how != PLAIN)
        file_words(file, sizeof file, (uintptr_t)va);
    if (show_va)
        snprintf(address, sizeof address, "va=0x%lx ", (unsigned long)va);
    prctl(PR_GET_NAME, comm);
    octal(name, comm);
    say("TRUTH kind=%s pid=%d %s%s n=%lu entry=0x%lx comm=%s%s%s%s\n", c->kind, getpid(), address, where,
        c->step / PAGE, (unsigned long)entry, name, file, *c->more ? " " : "", c->more);
}

static void unmapped(const struct claim *c)
{
    size_t size = c->n * PAGE;
    char *p = mmap(NULL, size, PROT_READ, MAP_SHARED, c->fd, c->offset);
    for (unsigned i = 0; i < c->n; i++) {
        (void)*(volatile char *)(p + i * PAGE);
        line(c, p + i * PAGE, 0);
    }
    munmap(p, size);
}

void emit_claims(void)
{
    for (struct claim *c = claims; c < claims + n_claims && c < claims + 32; c++) {
        if (c->how == UNMAPPED)
            unmapped(c);
        else if (c->how == WORDS)
            say("TRUTH kind=%s pid=%d %s\n", c->kind, getpid(), c->more);
        else
            for (unsigned i = 0; i < c->n; i++)
                line(c, (char *)c->va + i * c->step, 1);
    }
}
