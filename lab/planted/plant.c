// SPDX-License-Identifier: LGPL-2.1-or-later
// plant churn N          use 50 MB of all sorts and give it back; page cache stays until the next round
// plant WHAT BYTES       a process that takes that much and keeps it; again as much at every SIGUSR1
// The process is called leak_WHAT; /tmp/WHAT.COUNT appears when it has what it wants.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define MB (1UL << 20)
#define LOCK_BYTES 192  // of one struct file_lock
#define BLOCK_BYTES (16 * PAGE)

static void need(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "plant: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static char *touched(size_t size)
{
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(p != MAP_FAILED, "mmap");
    for (size_t at = 0; at < size; at += PAGE)
        p[at] = 1;
    return p;
}

static int written(const char *path, size_t size)
{
    static char block[1 << 16];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    need(fd >= 0, path);
    for (size_t at = 0; at < size; at += sizeof block)
        need(write(fd, block, sizeof block) == sizeof block, path);
    return fd;
}

// -- churn: 16 MB of a new file, 24 MB of processes, 4 MB of tmpfs, 6 MB of slab --
static void files(int round)
{
    char path[40], old[40];
    snprintf(path, sizeof path, "/disk/churn%d", round);
    snprintf(old, sizeof old, "/disk/churn%d", round - 1);
    unlink(old);
    close(written(path, 16 * MB));
    close(written("/tmp/churn", 4 * MB));
    unlink("/tmp/churn");
}

static void processes(void)
{
    for (int i = 0; i < 48; i++) {
        pid_t pid = fork();
        need(pid >= 0, "fork");
        if (!pid) {
            touched(MB / 2);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
}

static void objects(void)
{
    enum { PAIRS = 1000 };
    static int fds[PAIRS][2];
    for (int i = 0; i < PAIRS; i++)
        need(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]) == 0 && write(fds[i][0], fds, 2000) == 2000, "socketpair");
    for (int i = 0; i < PAIRS; i++) {
        close(fds[i][0]);
        close(fds[i][1]);
    }
}

static void churn(int round)
{
    files(round);
    processes();
    objects();
}

// -- leaks --
// Slab objects: locks, few on one file, since the kernel looks through all of a file's.
static void leak_slab(size_t bytes)
{
    enum { PER_FILE = 256 };
    int fd = -1;
    for (size_t i = 0; i < bytes / LOCK_BYTES; i++) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2 * (i % PER_FILE), .l_len = 1};
        if (i % PER_FILE == 0)
            fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
        need(fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0, "lock");
    }
}

// A user of alloc_pages: rings of packet sockets, in blocks of order 4, which nobody maps.
static void leak_pages(size_t bytes)
{
    struct tpacket_req ring = {.tp_block_size = BLOCK_BYTES, .tp_block_nr = bytes / BLOCK_BYTES,
                               .tp_frame_size = 2048, .tp_frame_nr = bytes / 2048};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    need(fd >= 0 && setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) == 0, "packet ring");
}

// Page cache that a process keeps in memory.
static void leak_cache(size_t bytes)
{
    static int number;
    char path[40];
    snprintf(path, sizeof path, "/disk/pinned%d", number++);
    int fd = written(path, bytes);
    char *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    need(p != MAP_FAILED && mlock(p, bytes) == 0, "mlock");
}

static void leak_anon(size_t bytes)
{
    touched(bytes);
}

// Where [p, p + bytes) lies, a page frame number per line of /tmp/pipe_pfns.
static void tell_pfns(char *p, size_t bytes)
{
    int pagemap = open("/proc/self/pagemap", O_RDONLY);
    FILE *out = fopen("/tmp/pipe_pfns", "a");
    need(pagemap >= 0 && out != NULL, "pagemap");
    for (size_t at = 0; at < bytes; at += PAGE) {
        unsigned long entry;
        need(pread(pagemap, &entry, 8, ((unsigned long)p + at) / PAGE * 8) == 8, "pagemap");
        fprintf(out, "%lu\n", entry & ((1UL << 55) - 1));
    }
    fclose(out);
    close(pagemap);
}

// Pages that a pipe refers to, by vmsplice().
static void leak_pipe(size_t bytes)
{
    int ends[2];
    struct iovec pages = {.iov_base = touched(bytes), .iov_len = bytes};
    need(pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, bytes) > 0, "pipe");
    need(vmsplice(ends[1], &pages, 1, 0) == (ssize_t)bytes, "vmsplice");
    tell_pfns(pages.iov_base, bytes);
}

static const struct kind { const char *name; void (*leak)(size_t bytes); } kinds[] = {
    {"slab", leak_slab}, {"pages", leak_pages}, {"cache", leak_cache}, {"anon", leak_anon},
    {"pipe", leak_pipe},
};

static void leak_for_ever(const struct kind *kind, size_t bytes)
{
    char name[40];
    int got;
    sigset_t more;
    sigemptyset(&more);
    sigaddset(&more, SIGUSR1);
    sigprocmask(SIG_BLOCK, &more, NULL);
    snprintf(name, sizeof name, "leak_%s", kind->name);
    prctl(PR_SET_NAME, name);
    for (int count = 1;; count++) {
        kind->leak(bytes);
        snprintf(name, sizeof name, "/tmp/%s.%d", kind->name, count);
        close(open(name, O_CREAT | O_WRONLY, 0644));
        sigwait(&more, &got);
    }
}

int main(int argc, char **argv)
{
    struct rlimit many = {4096, 4096}, all = {RLIM_INFINITY, RLIM_INFINITY};
    need(argc == 3, "usage: plant churn N | slab|pages|cache|anon|pipe BYTES");
    need(setrlimit(RLIMIT_NOFILE, &many) == 0 && setrlimit(RLIMIT_MEMLOCK, &all) == 0, "setrlimit");
    if (strcmp(argv[1], "churn") == 0) {
        churn(atoi(argv[2]));
        return 0;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(argv[1], kinds[i].name) == 0)
            leak_for_ever(&kinds[i], strtoul(argv[2], NULL, 0));
    need(0, argv[1]);
}
