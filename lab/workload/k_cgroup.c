// SPDX-License-Identifier: LGPL-2.1-or-later
// Pages charged to child cgroups: anonymous, of files, of the kernel; and to one that was removed.
#include "kinds.h"

#define CGROUP "/cgroup/lab"

static int enter(const char *cgroup)
{
    char path[100], pid[20];
    snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    snprintf(pid, sizeof pid, "%d", getpid());
    return put(path, pid);
}

int make_cgroups(void)
{
    return put("/cgroup/cgroup.subtree_control", "+memory") || mkdir(CGROUP, 0755) ||
           put(CGROUP "/cgroup.subtree_control", "+memory") || mkdir(CGROUP "/child", 0755) ||
           mkdir(CGROUP "/dying", 0755);
}

void w_cgroup(void)
{
    int ends[2];
    if (enter(CGROUP "/child") || pipe(ends)) {
        skip("cgroup", strerror(errno));
        return;
    }
    char *p = anon(6 * PAGE);
    fill(p, 6 * PAGE, 1000);
    claim("cgroup_anon", p, 6, "cgroup=/lab/child");
    int fd = make_file("/disk/charged", 4, 1010);
    claim_unmapped("cgroup_file", fd, 0, 4, "cgroup=/lab/child path=/disk/charged");
    write_marked("cgroup_pipe", ends[1], PAGE, "by=pipe_write cgroup=/lab/child fd=%d", ends[0]);
}

// The cgroup is removed while page cache and a shared mapping are charged to it.
void w_dying(void)
{
    int fd = memfd_create("dying", 0);
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (enter(CGROUP "/dying") || ftruncate(fd, 4 * PAGE))
            _exit(1);
        fill(p, 4 * PAGE, 1020);
        close(make_file("/disk/dying", 4, 1030));
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (status || rmdir(CGROUP "/dying")) {
        skip("cgroup_dying", strerror(errno));
        return;
    }
    for (int i = 0; i < 4; i++)
        (void)*(volatile char *)(p + i * PAGE);
    claim_file("cgroup_dying", p, 4, "cgroup=dying name=memfd:dying");
    claim_unmapped("cgroup_dying", open("/disk/dying", O_RDONLY), 0, 4, "cgroup=dying path=/disk/dying");
}
