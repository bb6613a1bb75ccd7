// SPDX-License-Identifier: LGPL-2.1-or-later
// Pages that KSM merges: within one process and between two.
#include "kinds.h"

#define KSM "/sys/kernel/mm/ksm/"

static void same_pages(unsigned n)
{
    char *p = anon(n * PAGE);
    madvise(p, n * PAGE, MADV_MERGEABLE);
    for (unsigned i = 0; i < n; i++)
        memset(p + i * PAGE, 'k' + i % 2, PAGE);
    claim("ksm", p, n, "");
}

static void other(void)
{
    forget_claims();
    same_pages(4);
}

void w_ksm(void)
{
    same_pages(6);
    spawn(other);
    put(KSM "pages_to_scan", "4000");
    put(KSM "sleep_millisecs", "20");
    if (put(KSM "run", "1")) {
        skip("ksm", strerror(errno));
        return;
    }
    for (int i = 0; i < 400 && get_number(KSM "pages_sharing") < 8; i++)
        nap(50);
    put(KSM "run", "0");
}
