// SPDX-License-Identifier: LGPL-2.1-or-later
// Data that the kernel copies: a marker tells the host which page it went to. No copy stays in user memory.
#include "lab.h"

void write_marked(const char *kind, int fd, size_t size, const char *more, ...)
{
    static int count;
    char *p = anon((size + PAGE - 1) & ~(PAGE - 1)), words[200], hex[33], name[48];
    va_list args;
    va_start(args, more);
    vsnprintf(words, sizeof words, more, args);
    va_end(args);
    snprintf(name, sizeof name, "%s%d", kind, count++);
    memset(p, 'm', size);
    make_marker((unsigned char *)p, name);
    marker_hex(hex, (unsigned char *)p);
    ssize_t n = write(fd, p, size);
    memset(p, 0, size);
    munmap(p, size);
    if (n != (ssize_t)size)
        skip(kind, n < 0 ? strerror(errno) : "short write");
    else
        claim_words(kind, "marker=%s %s", hex, words);
}
