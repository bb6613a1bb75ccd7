// SPDX-License-Identifier: LGPL-2.1-or-later
// Who shares an address space or a page: fork, threads, CLONE_VM, allocators that have gone, reused pids.
#include "kinds.h"
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>

static char *page;

static void nothing(void)
{
}

static void cow_child(void)
{
    forget_claims();
    for (int i = 0; i < 2; i++)
        page[i * PAGE] ^= 1;
    claim("fork_cow", page, 2, "");
    claim("fork_shared", page + 2 * PAGE, 2, "");
}

void w_fork(void)
{
    page = anon(4 * PAGE);
    fill(page, 4 * PAGE, 800);
    claim("fork_parent", page, 2, "");
    claim("fork_shared", page + 2 * PAGE, 2, "");
    spawn(cow_child);
    spawn(nothing);
}

static void __attribute__((noreturn)) idle(void)
{
    for (;;)
        pause();
}

static void *idle_thread(void *p)
{
    if (p)
        fill(p, PAGE, 820);
    idle();
}

static void threads(int n, char *p)
{
    pthread_t t;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int i = 0; i < n; i++)
        pthread_create(&t, &small, idle_thread, p ? p + i * PAGE : NULL);
    nap(100);
}

void w_threads(void)
{
    char *p = anon(3 * PAGE);
    threads(3, p);
    claim("thread", p, 3, "");
}

// Many kernel stacks; those of threads that have ended are cached per CPU or given back.
void w_many_threads(void)
{
    threads(24, NULL);
    if (fork() == 0)
        _exit(0);
    wait(NULL);
    claim_words("kernel_stacks", "threads=25");
}

static void *survivor(void *p)
{
    nap(200);
    fill(p, 2 * PAGE, 830);
    claim("leader_exited", p, 2, "");
    prctl(PR_SET_NAME, "w_survivor");
    hold();
}

void w_leader(void)
{
    pthread_t t;
    pthread_create(&t, NULL, survivor, anon(2 * PAGE));
    pthread_exit(NULL);
}

static char *vm_page;
static volatile pid_t vm_child;

static int sharer(void *stack)
{
    fill(vm_page + PAGE, PAGE, 841);
    vm_child = syscall(SYS_getpid);
    idle();
}

// Two thread groups, one address space. The sharer does not speak: its lines would be the same.
void w_clone_vm(void)
{
    vm_page = anon(2 * PAGE);
    fill(vm_page, PAGE, 840);
    if (clone(sharer, (char *)anon(16 * PAGE) + 16 * PAGE, CLONE_VM | SIGCHLD, NULL) < 0)
        skip("clone_vm", strerror(errno));
    while (!vm_child)
        nap(5);
    claim("clone_vm", vm_page, 2, "other_pid=%d", vm_child);
}

static char *left;
static volatile pid_t *gone;

static void heir(void)
{
    forget_claims();
    claim("allocator_exited", left, 3, "alloc_pid=%d", *gone);
}

// A grandchild keeps the pages of a child that exits.
void w_orphan(void)
{
    gone = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_NAME, "w_orphaner");
        *gone = getpid();
        left = anon(3 * PAGE);
        fill(left, 3 * PAGE, 850);
        spawn(heir);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static pid_t fork_as(pid_t wanted)
{
    struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&wanted, .set_tid_size = 1};
    return syscall(SYS_clone3, &args, sizeof args);
}

// The record of a page names a pid that another process has now.
void w_pid_reuse(void)
{
    int fd = memfd_create("reuse", 0);
    if (ftruncate(fd, 2 * PAGE))
        return;
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pid_t first = fork();
    if (first == 0) {
        prctl(PR_SET_NAME, "w_reuse_old");
        fill(p, 2 * PAGE, 860);
        _exit(0);
    }
    waitpid(first, NULL, 0);
    for (int i = 0; i < 2; i++)
        (void)*(volatile char *)(p + i * PAGE);
    claim_file("reused_pid_old", p, 2, "alloc_pid=%d", first);
    pid_t second = fork_as(first);
    if (second == 0) {
        prctl(PR_SET_NAME, "w_reuse_new");
        forget_claims();
        char *q = anon(2 * PAGE);
        fill(q, 2 * PAGE, 861);
        claim("reused_pid_new", q, 2, "");
        hold();
    }
    if (second < 0)
        skip("reused_pid_new", strerror(errno));
}
