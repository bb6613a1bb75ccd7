// SPDX-License-Identifier: LGPL-2.1-or-later
// Between two scans from outside (tests/sources/test_qemu_busy.py) memory stands still, and pagemap is written down:
// watcher PROGRAM FOLDER starts PROGRAM, and for n = 0, 1, … stops it, writes pagemap.n (packed records
// {u64 tgid, u64 va, u64 entry} of present pages), lets it go on, makes ready.n and waits for done.n.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096UL

static void look_at(FILE *out, unsigned tgid)
{
    static uint64_t entries[512];
    char path[64], line[512];
    uint64_t start, end;
    snprintf(path, sizeof path, "/proc/%u/maps", tgid);
    FILE *maps = fopen(path, "r");
    snprintf(path, sizeof path, "/proc/%u/pagemap", tgid);
    int fd = open(path, O_RDONLY);
    while (maps && fd >= 0 && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx", &start, &end) != 2 || start >> 63)
            continue;
        while (start < end) {
            size_t want = (end - start) / PAGE < 512 ? (end - start) / PAGE : 512;
            ssize_t got = pread(fd, entries, want * 8, start / PAGE * 8);
            if (got <= 0)
                break;
            for (ssize_t i = 0; i < got / 8; i++, start += PAGE)
                if (entries[i] >> 63)
                    fwrite((uint64_t[]){tgid, start, entries[i]}, 24, 1, out);
        }
    }
    if (maps)
        fclose(maps);
    close(fd);
}

static void look(const char *folder, unsigned n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/pagemap.%u", folder, n);
    FILE *out = fopen(path, "w");
    DIR *proc = opendir("/proc");
    for (struct dirent *d; out && (d = readdir(proc));)
        if (d->d_name[0] >= '1' && d->d_name[0] <= '9' && atoi(d->d_name) != getpid())
            look_at(out, atoi(d->d_name));
    closedir(proc);
    if (!out || fclose(out))
        exit(1);
}

int main(int argc, char **argv)
{
    char path[256];
    pid_t group = fork();
    if (!group) {
        setpgid(0, 0);
        nice(10);                       // or they all wait for each other
        execv(argv[1], argv + 1);
        _exit(1);
    }
    setpgid(group, group);
    sleep(2);
    for (unsigned n = 0;; n++) {
        killpg(group, SIGSTOP);
        usleep(200000);                 // until the last has met the signal
        look(argv[2], n);
        killpg(group, SIGCONT);
        snprintf(path, sizeof path, "%s/ready.%u", argv[2], n);
        close(open(path, O_WRONLY | O_CREAT, 0644));
        snprintf(path, sizeof path, "%s/done.%u", argv[2], n);
        while (access(path, F_OK))
            usleep(50000);
    }
}
