# SPDX-License-Identifier: LGPL-2.1-or-later
"""page_owner texts of every form, made by hand from what each kernel's print_page_owner() prints."""

from __future__ import annotations

from hypothesis import strategies as st

STACK = b""" prep_new_page+0x17/0x4a
 get_page_from_freelist+0x820/0x94e
 __alloc_pages+0xd7/0x18b
 do_anonymous_page+0x52/0x6b
 __handle_mm_fault+0x258/0x840
"""
MIGRATED = b"Page has been migrated, last migrate reason: compaction\n"

HEAD = b"Page allocated via order 0, mask 0x100cca(GFP_HIGHUSER_MOVABLE)"
FORMS = {
    "5.10": HEAD
    + b"""
PFN 4097 type Movable Block 8 type Movable Flags 0x100000000080034(uptodate|lru|active|swapbacked)
"""
    + STACK
    + b"\n",
    "5.15": HEAD
    + b""", pid 7, ts 5 ns, free_ts 3 ns
PFN 4097 type Movable Block 8 type Movable Flags 0x100000000080034(uptodate|lru|node=0|zone=1)
"""
    + STACK
    + MIGRATED
    + b"\n",
    "6.1": HEAD
    + b""", pid 7, tgid 6 (a b) c), ts 5 ns, free_ts 3 ns
PFN 4097 type Movable Block 8 type CMA Flags 0x100000000080034(uptodate|lru|node=0|zone=1)
"""
    + STACK
    + b"Charged (via objcg) to offline memcg a b\n\n",
    "6.5": HEAD
    + b""", pid 7, tgid 6 (a b) c), ts 5 ns, free_ts 3 ns
PFN 0x1001 type Movable Block 8 type Movable Flags 0x100000000080034(uptodate|lru|slab|node=0|zone=1)
"""
    + STACK
    + MIGRATED
    + b"Charged to memcg /\n\n",
    "6.8": HEAD
    + b""", pid 7, tgid 6 (a b) c), ts 5 ns
PFN 0x1001 type Movable Block 8 type Movable Flags 0x100000000080034(uptodate|lru|node=0|zone=1)
"""
    + STACK
    + b"Slab cache page\n\n",
    "7.3 handle": HEAD
    + b""", pid 7, tgid 6 (a b) c), ts 5 ns
PFN 0x1001 type Movable Block 8 type Movable Flags 0x100000000080034(uptodate|lru|node=0|zone=1)
handle: 17825816

""",
    "7.3 stack_handle": HEAD
    + b""", pid 7, tgid 6 (a b) c), ts 5 ns
PFN 0x1001 type Movable Block 8 type Movable Flags 0x100000000080034(uptodate|lru|node=0|zone=1)
"""
    + STACK
    + b"handle: 17825816\n"
    + MIGRATED
    + b"\n",
    "RFC": HEAD
    + b""", pid 7, tgid 6 (a b) c), ts 5 ns
ANON_PAGE address 0x4c4000
PFN 0x1001 type Movable Block 8 type Movable Flags 0x100000000080034(uptodate|lru|node=0|zone=1)
"""
    + STACK
    + b"\n",
    "mappings": HEAD
    + b""", pid 7, tgid 6 (a b) c), ts 5 ns
ANON_PAGE address 0x4c4000 +3 pages of 2 other owners
MAPPED pid 6 (a\\040b) 0x4c4000 - 0x4c5000 page 0
MAPPED pid 8 (x) 0x4c4000 - 0x4c5000 page 0
PFN 0x1001 type Movable Block 8 type Movable Flags 0x100000000080034(uptodate|lru|node=0|zone=1)
"""
    + STACK
    + b"\n",
    "unrecorded": b"""Page of order 0, allocation not recorded
ANON_PAGE address 0x4c4000
PFN 0x1001 Block 8 type Movable Flags 0x100000000080034(uptodate|lru|node=0|zone=1)

""",
    "freed": b"""Page last freed via order 0, pid 7, tgid 6, free_ts 3 ns, free since
PFN 0x1001 type Movable Block 8 type Movable Flags 0x100000000080034(uptodate|lru|node=0|zone=1)
"""
    + STACK
    + b"\n",
}
"""One record each, of PFN 4097."""

SLAB_STACK = b""" new_slab+0x2b/0x3f0
 ___slab_alloc+0x528/0x8a0
 kmem_cache_alloc+0x224/0x3b0
 brd_alloc+0x1ac/0x1ce [brd]
"""


def record(
    pfn: int = 1,
    order: int = 0,
    pid: int = 7,
    comm: bytes = b"a",
    ts: int = 5,
    stack: bytes = STACK,
    **more: object,
) -> bytes:
    """One record as 6.12 prints it, or 6.1 if ``free_ts`` is given. ``tail``: lines after the stack."""
    free_ts = b", free_ts %d ns" % more["free_ts"] if "free_ts" in more else b""
    tail = more.get("tail", b"")
    assert isinstance(tail, bytes)
    return (
        b"Page allocated via order %d, mask 0xcc0(GFP_KERNEL), pid %d, tgid %d (%s), ts %d ns%s\n"
        b"PFN 0x%x type Unmovable Block 0 type Unmovable Flags 0x100000000000034(node=0|zone=1)\n%s%s\n"
    ) % (order, pid, pid, comm, ts, free_ts, pfn, stack, tail)


# What a task may be called to fool a reader: at most 15 bytes, anything but NUL.
_TRICKS = [
    b"\nPFN 1 type Mov",
    b"1 ns\nPFN 1 type",
    b" ns\nPFN 1 type ",
    b"), ts 1 ns\nPFN ",
    b"), ts 1 ns\nA_PA",
    b"\nPage of order ",
    b"\n\n",
    b"a\nb",
    b"), ts 3 ns",
    b"(a) (b",
    b"\xff\xfe",
    b"\xf4\x8f\xbe\x80",
    b"\r\t ",
    b"\n \n",
    b", pid 1, tgid 2",
    b")\nMAPPED pid",
    b")",
]
comms = st.sampled_from(_TRICKS) | st.binary(min_size=1, max_size=15).map(
    lambda raw: raw.replace(b"\0", b"\n")
)
memcgs = st.binary(min_size=1, max_size=20).map(lambda raw: raw.replace(b"\0", b"x").replace(b"\n", b"y"))
tails = st.just(b"") | st.just(MIGRATED) | memcgs.map(lambda name: b"Charged to memcg %s\n" % name)
fields = st.fixed_dictionaries(
    {
        "pfn": st.integers(0, 2**40),
        "order": st.integers(0, 10),
        "pid": st.integers(-1, 2**22),
        "comm": comms,
        "ts": st.integers(0, 2**63),
        "stack": st.sampled_from([STACK, SLAB_STACK, b""]),
        "tail": tails,
    },
    optional={"free_ts": st.integers(0, 2**63)},
)
