// SPDX-License-Identifier: LGPL-2.1-or-later
// A tree of 100 processes, each forked off its parent with pages of its own: many page tables that are nearly alike.
#include "kinds.h"

#define MEMBERS 100
#define AREA (64 * PAGE)

static volatile int *members;
static char *area;

// Member n writes a page that its parent made, and one that nobody had; then it has two children.
static void member(int n)
{
    for (int twig = 2 * n + 1; twig <= 2 * n + 2 && twig < MEMBERS; twig++) {
        if (fork())
            continue;
        forget_claims();
        memset(area + twig % 32 * PAGE, twig, PAGE);
        memset(area + (32 + twig % 32) * PAGE, twig, 8);
        member(twig);
        __sync_fetch_and_add(members, 1);
        for (;;)
            pause();
    }
}

void w_tree(void)
{
    members = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    area = anon(AREA);
    fill(area, 32 * PAGE, 830);
    member(0);
    for (int i = 0; i < 2000 && *members < MEMBERS - 1; i++)
        nap(10);
    if (*members < MEMBERS - 1)
        skip("tree", "not all of them got ready");
    claim("tree", area, 32, "members=%d", MEMBERS);
}
