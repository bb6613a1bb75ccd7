// SPDX-License-Identifier: LGPL-2.1-or-later
// Shared memory: memfd, System V, anonymous.
#include "kinds.h"
#include <sys/shm.h>

void w_memfd(void)
{
    int fd = memfd_create("lab data", 0);
    if (ftruncate(fd, 8 * PAGE))
        exit(1);
    char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    fill(p, 4 * PAGE, 200);
    fill(p + 6 * PAGE, PAGE, 206);
    claim_file("memfd", p, 4, "name=memfd:lab\\040data");
    claim_file("memfd", p + 6 * PAGE, 1, "name=memfd:lab\\040data");
    // The same file, mapped twice at other offsets.
    char *again = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 2 * PAGE);
    for (int i = 0; i < 2; i++)
        (void)*(volatile char *)(again + i * PAGE);
    claim_file("memfd", again, 2, "name=memfd:lab\\040data");
}

void w_sysv(void)
{
    int id = shmget(0x1ab51ab5, 4 * PAGE, IPC_CREAT | 0600);
    char *p = shmat(id, NULL, 0);
    if (p == (char *)-1) {
        skip("sysv", strerror(errno));
        return;
    }
    fill(p, 4 * PAGE, 220);
    claim_file("sysv", p, 4, "name=SYSV1ab51ab5 shmid=%d", id);
}

static char *shared;

static void shared_child(void)
{
    for (int i = 0; i < 4; i++)
        (void)*(volatile char *)(shared + i * PAGE);
}

void w_shared_anon(void)
{
    shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fill(shared, 4 * PAGE, 240);
    claim_file("shared_anon", shared, 4, "");
    spawn(shared_child);
}
