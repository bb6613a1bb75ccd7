// SPDX-License-Identifier: LGPL-2.1-or-later
// Saves what the kernel says of its memory, through a virtio port, dirtying as few pages as possible:
// (save PORT [text]: the word asks for debugfs page_owner) one process, static buffers, no file is written in the guest. The stream is
// "F <name> <bytes>\n" + the bytes, repeated (chunks of one name are joined by the host), ended by "E - 0\n".
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 65536
#define PAGE 4096UL

static int port;
static char buffer[CHUNK], text[1 << 20];
static uint64_t entries[8192];

struct record { uint64_t tgid, va, entry; };
static struct record records[2048];
static unsigned n_records;

static void write_all(const void *data, size_t n)
{
    for (const char *p = data; n;) {
        ssize_t done = write(port, p, n);
        if (done <= 0)
            exit(1);
        p += done;
        n -= done;
    }
}

static void frame(const char *name, const void *data, size_t n)
{
    char head[128];
    int size = snprintf(head, sizeof head, "F %s %zu\n", name, n);
    write_all(head, size);
    write_all(data, n);
}

// Copies `path` under `name`. Reads are as large as the buffer allows; page_owner answers one record per read.
static void copy(const char *path, const char *name)
{
    int fd = open(path, O_RDONLY);
    size_t have = 0;
    ssize_t n;
    if (fd < 0)
        return;
    frame(name, "", 0);
    while ((n = read(fd, buffer + have, CHUNK - have > 8192 ? CHUNK - have : 8192)) > 0) {
        have += n;
        if (have > CHUNK - 8192) {
            frame(name, buffer, have);
            have = 0;
        }
    }
    frame(name, buffer, have);
    close(fd);
}

// The kernel's log, one record per read.
static void save_log(void)
{
    int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
    for (ssize_t n; (n = read(fd, buffer, CHUNK)) > 0;)
        frame("dmesg.txt", buffer, n);
    close(fd);
}

static void title(const char *name, const char *what, const char *note)
{
    char line[600];
    frame(name, line, snprintf(line, sizeof line, "==> %s%s <==\n", what, note));
}

static void section(const char *path, const char *name)
{
    title(name, path, "");
    copy(path, name);
}

static void flush_records(void)
{
    frame("pagemap.bin", records, n_records * sizeof *records);
    n_records = 0;
}

static void pagemap_range(int fd, uint64_t tgid, uint64_t start, uint64_t end)
{
    while (start < end) {
        size_t want = (end - start) / PAGE * 8;
        ssize_t got = pread(fd, entries, want < sizeof entries ? want : sizeof entries, start / PAGE * 8);
        if (got <= 0)
            return;
        for (ssize_t i = 0; i < got / 8; i++, start += PAGE) {
            if (!(entries[i] >> 62))
                continue;
            records[n_records++] = (struct record){tgid, start, entries[i]};
            if (n_records == sizeof records / sizeof *records)
                flush_records();
        }
    }
}

static ssize_t slurp(const char *path)
{
    int fd = open(path, O_RDONLY);
    ssize_t have = 0, n;
    if (fd < 0)
        return -1;
    while ((n = read(fd, text + have, sizeof text - 1 - have)) > 0)
        have += n;
    text[have] = 0;
    close(fd);
    return have;
}

// base: /proc/PID, or /proc/PID/task/TID where the leader has exited (then only its threads still have the mm).
static int save_mm(const char *base, uint64_t tgid)
{
    char path[128];
    snprintf(path, sizeof path, "%s/maps", base);
    ssize_t n = slurp(path);
    if (n <= 0)
        return 0;
    title("proc.txt", path, "");
    frame("proc.txt", text, n);
    snprintf(path, sizeof path, "%s/pagemap", base);
    int fd = open(path, O_RDONLY);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        uint64_t start, end;
        if (sscanf(line, "%lx-%lx", &start, &end) == 2 && !(start >> 63))
            pagemap_range(fd, tgid, start, end);
    }
    close(fd);
    return 1;
}

static void save_process(const char *pid)
{
    static const char *const names[] = {"status", "smaps_rollup", "stat", "cgroup"};
    char path[128];
    uint64_t tgid = strtoul(pid, NULL, 10);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "/proc/%s/%s", pid, names[i]);
        section(path, "proc.txt");
    }
    snprintf(path, sizeof path, "/proc/%s", pid);
    int saved = save_mm(path, tgid);
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *dir = opendir(path);
    title("proc.txt", path, "");
    for (struct dirent *d; dir && (d = readdir(dir));)
        if (d->d_name[0] != '.')
            frame("proc.txt", text, snprintf(text, sizeof text, "%s\n", d->d_name));
    if (dir)
        rewinddir(dir);
    for (struct dirent *d; dir && !saved && (d = readdir(dir));) {
        snprintf(path, sizeof path, "/proc/%s/task/%.20s", pid, d->d_name);
        saved = d->d_name[0] != '.' && save_mm(path, tgid);
    }
    if (dir)
        closedir(dir);
}

static void save_processes(void)
{
    DIR *proc = opendir("/proc");
    for (struct dirent *d; (d = readdir(proc));)
        if (d->d_name[0] >= '1' && d->d_name[0] <= '9')
            save_process(d->d_name);
    closedir(proc);
    flush_records();
}

static void save_glob(const char *pattern, const char *name)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            section(found.gl_pathv[i], name);
    globfree(&found);
}

static void save_slab_aliases(void)
{
    char path[400], target[256];
    DIR *dir = opendir("/sys/kernel/slab");
    for (struct dirent *d; dir && (d = readdir(dir));) {
        snprintf(path, sizeof path, "/sys/kernel/slab/%s", d->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0)
            frame("slab_aliases.txt", text, sprintf(text, "%s %.*s\n", d->d_name, (int)n, target));
    }
    if (dir)
        closedir(dir);
}

static void save_cgroups(const char *path)
{
    static const char *const names[] = {"memory.current", "memory.stat", "cgroup.procs"};
    char below[512], note[40];
    struct stat st;
    if (stat(path, &st))
        return;
    snprintf(note, sizeof note, " inode %lu", (unsigned long)st.st_ino);
    title("cgroups.txt", path, note);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(below, sizeof below, "%.400s/%s", path, names[i]);
        copy(below, "cgroups.txt");
    }
    DIR *dir = opendir(path);
    for (struct dirent *d; (d = readdir(dir));) {
        snprintf(below, sizeof below, "%.240s/%s", path, d->d_name);
        if (d->d_type == DT_DIR && d->d_name[0] != '.')
            save_cgroups(below);
    }
    closedir(dir);
}

static void save_system(void)
{
    static const char *const plain[] = {
        "kallsyms", "iomem", "mounts", "modules", "swaps", "cmdline", "version", "vmallocinfo", "pagetypeinfo",
        "interrupts", "slabinfo", "zoneinfo", "buddyinfo", "meminfo", "vmstat",
    };
    char path[64], name[64];
    copy("/proc/config.gz", "config.gz");
    copy("/proc/self/mountinfo", "mountinfo.txt");
    copy("/proc/net/sockstat", "net_sockstat.txt");
    save_log();
    save_slab_aliases();
    save_cgroups("/cgroup");
    save_glob("/sys/kernel/debug/cma/*/*", "cma.txt");
    save_glob("/sys/block/zram*/mm_stat", "zram.txt");
    save_glob("/sys/devices/system/node/node*/meminfo", "node_meminfo.txt");
    save_glob("/sys/devices/system/memory/memory*/state", "memory_blocks.txt");
    copy("/proc/kpageflags", "kpageflags.bin");
    copy("/proc/kpagecount", "kpagecount.bin");
    copy("/proc/kpagecgroup", "kpagecgroup.bin");
    copy("/sys/kernel/debug/page_owner_stacks/show_stacks", "page_owner_stacks.txt");
    for (unsigned i = 0; i < sizeof plain / sizeof *plain; i++) {
        snprintf(path, sizeof path, "/proc/%s", plain[i]);
        snprintf(name, sizeof name, "%s.txt", plain[i]);
        copy(path, name);
    }
}

int main(int argc, char **argv)
{
    port = open(argv[1], O_WRONLY);
    save_processes();
    save_system();
    if (argc > 2)
        copy("/sys/kernel/debug/page_owner", "page_owner.txt");
    write_all("E - 0\n", 6);
    puts("LAB saved");
    for (;;)
        pause();
}
