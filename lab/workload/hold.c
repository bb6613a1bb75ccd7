// SPDX-License-Identifier: LGPL-2.1-or-later
// Processes that hold their pages: a table in shared memory, SIGUSR1 asks a process for its truth.
#include "lab.h"
#include <sched.h>

#define HOLDERS 128
struct holder { pid_t pid; volatile int spoken; };
static struct table { volatile int n, started; struct holder holder[HOLDERS]; } *table;

void init_holders(void)
{
    table = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

void hold(void)
{
    sigset_t set;
    siginfo_t info;
    int slot = __sync_fetch_and_add(&table->n, 1);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    table->holder[slot].pid = getpid();
    __sync_fetch_and_add(&table->started, 1);
    for (;;) {
        if (sigwaitinfo(&set, &info) != SIGUSR1)
            continue;
        emit_claims();
        table->holder[slot].spoken = 1;
    }
}

static int await_started(int n, unsigned ms)
{
    for (unsigned i = 0; i < ms && table->started < n; i += 5)
        nap(5);
    return table->started >= n;
}

pid_t spawn(void (*child)(void))
{
    int before = table->started;
    pid_t pid = fork();
    if (pid == 0) {
        child();
        hold();
    }
    if (!await_started(before + 1, 20000))
        skip("spawn", "child did not get ready");
    return pid;
}

void start(const char *comm, void (*setup)(void))
{
    int status, before = table->started;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NAME, comm);
        forget_claims();
        setup();
        hold();
    }
    for (unsigned i = 0; i < 60000; i += 5) {
        // A worker's own children are counted too: it is the worker itself that must be in the table.
        for (int s = before; s < table->started; s++)
            if (table->holder[s].pid == pid)
                return;
        if (waitpid(pid, &status, WNOHANG) == pid)
            break;
        nap(5);
    }
    skip(comm, "worker ended or did not get ready");
}

void emit_all(void)
{
    for (int i = 0; i < table->started; i++) {
        kill(table->holder[i].pid, SIGUSR1);
        for (unsigned ms = 0; ms < 20000 && !table->holder[i].spoken; ms += 2)
            nap(2);
    }
}
