// SPDX-License-Identifier: LGPL-2.1-or-later
// Pages that files of other sorts hold: pipes, AIO and io_uring rings, perf and trace buffers.
#include "kinds.h"
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <sys/uio.h>

// A page's worth of filling that begins with a marker, and the words for it.
static void marked(unsigned char page[PAGE], char words[200], const char *name, const char *more)
{
    char hex[33];
    unsigned char marker[16];
    fill(page, PAGE, name[0] + name[strlen(name) - 1] * 7);
    make_marker(marker, name);
    memcpy(page, marker, sizeof marker);
    marker_hex(hex, marker);
    snprintf(words, 200, "%smarker=%s", more, hex);
}

// The kernel alone may keep a marker: what wrote it must forget it.
static void put_marked(int fd, const char *kind, const char *name, unsigned size, const char *more)
{
    static unsigned char page[PAGE];
    char words[200];
    marked(page, words, name, more);
    if (write(fd, page, size) == (ssize_t)size)
        claim_words(kind, "%s", words);
    else
        skip(kind, strerror(errno));
    memset(page, 0, sizeof page);
}

void w_pipe(void)
{
    int ends[2], gift[2], cache[2];
    char *p;
    if (pipe(ends) || pipe(gift) || pipe(cache))
        return;
    put_marked(ends[1], "pipe", "pipe1", PAGE, "by=pipe_write ");
    put_marked(ends[1], "pipe", "pipe2", PAGE, "by=pipe_write ");
    put_marked(ends[1], "pipe", "pipe3", 100, "by=pipe_write ");
    int fd = make_file("/disk/piped", 2, 40);
    off_t at = 0;
    if (splice(fd, &at, cache[1], NULL, 2 * PAGE, 0) != 2 * (ssize_t)PAGE)
        skip("pipe_file", strerror(errno));
    p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    for (int i = 0; i < 2; i++)
        (void)*(volatile char *)(p + i * PAGE);
    claim_file("pipe_file", p, 2, "path=/disk/piped");
    p = anon(2 * PAGE);
    fill(p, 2 * PAGE, 41);
    struct iovec v = {p, 2 * PAGE};
    if (vmsplice(gift[1], &v, 1, 0) != 2 * (ssize_t)PAGE)
        skip("pipe_anon", strerror(errno));
    claim("pipe_anon", p, 2, "");
    mkfifo("/tmp/fifo", 0600);
    fd = open("/tmp/fifo", O_RDWR);
    put_marked(fd, "pipe", "fifo", 200, "by=pipe_write name=fifo ");
}

void w_aio(void)
{
    aio_context_t ctx = 0;
    if (syscall(SYS_io_setup, 200, &ctx)) {
        skip("aio_ring", strerror(errno));
        return;
    }
    for (int i = 0; i < 3; i++)
        (void)*(volatile char *)(ctx + i * PAGE);
    claim("aio_ring", (void *)ctx, 3, "");
}

void w_io_uring(void)
{
    struct io_uring_params params = {0};
    int fd = syscall(SYS_io_uring_setup, 256, &params);
    if (fd < 0) {
        skip("io_uring", strerror(errno));
        return;
    }
    unsigned rings = (params.cq_off.cqes + params.cq_entries * 16 + PAGE - 1) / PAGE;
    int flags = MAP_SHARED | MAP_POPULATE;
    char *p = mmap(NULL, rings * PAGE, PROT_READ | PROT_WRITE, flags, fd, IORING_OFF_SQ_RING);
    char *q = mmap(NULL, 256 * 64, PROT_READ | PROT_WRITE, flags, fd, IORING_OFF_SQES);
    claim("io_uring", p, rings, "part=rings");
    claim("io_uring", q, 256 * 64 / PAGE, "part=sqes");
    char *b = anon(3 * PAGE);
    fill(b, 3 * PAGE, 44);
    struct iovec v = {b, 3 * PAGE};
    if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &v, 1))
        skip("io_uring_buffer", strerror(errno));
    claim("io_uring_buffer", b, 3, "");
}

void w_perf(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr,
                                   .config = PERF_COUNT_SW_DUMMY, .disabled = 1};
    int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
    char *p = mmap(NULL, 9 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (p == MAP_FAILED) {
        skip("perf", strerror(errno));
        return;
    }
    for (int i = 0; i < 9; i++)
        (void)*(volatile char *)(p + i * PAGE);
    claim("perf", p, 9, "");
}

void w_trace(void)
{
    char words[200], hex[33], dir[] = "/sys/kernel/tracing/instances/lab";
    unsigned char marker[16];
    for (int instance = 0; instance < 2; instance++) {
        if (instance && mkdir(dir, 0755)) {
            skip("ring_buffer", strerror(errno));
            return;
        }
        const char *path = instance ? "/sys/kernel/tracing/instances/lab/trace_marker" : "/sys/kernel/tracing/trace_marker";
        int fd = open(path, O_WRONLY);
        if (fd < 0) {
            skip("ring_buffer", strerror(errno));
            return;
        }
        make_marker(marker, instance ? "trace_lab" : "trace_global");
        for (int i = 0; i < 16; i++)
            marker[i] |= 0x40; // text, and no newline
        marker_hex(hex, marker);
        if (write(fd, marker, 16) != 16)
            skip("ring_buffer", strerror(errno));
        snprintf(words, sizeof words, "by=ring_buffer|rb_|early name=%s marker=%s", instance ? "lab" : "global", hex);
        memset(marker, 0, sizeof marker);
        claim_words("ring_buffer", "%s", words);
        close(fd);
    }
}

// The pages of the RAM disk driver that a layer of the user's own names.
void w_brd(void)
{
    int fd = open("/dev/ram0", O_RDWR | O_SYNC | O_DIRECT);
    char *p = anon(PAGE), words[200];
    if (fd < 0) {
        skip("brd", strerror(errno));
        return;
    }
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "brd%d", i);
        marked((unsigned char *)p, words, name, "by=brd_ ");
        if (pwrite(fd, p, PAGE, i * 3 * PAGE) != (ssize_t)PAGE)
            skip("brd", strerror(errno));
        claim_words("brd", "index=%d %s", i * 3, words);
    }
    munmap(p, PAGE);
}
