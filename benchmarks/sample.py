# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the scan says of pages, against drgn's own helpers, one page at a time: no figure without this.

    python -m benchmarks.sample [CORE [PAGES]]

PAGES (3000) pages are drawn at random from the core (big-6.12), and for each kind some more. The slow path
uses drgn's helpers and single members of struct page, and none of our readers of memory.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

import drgn
import numpy as np
from drgn.helpers.linux.mm import PageSlab, compound_head, follow_phys, pfn_to_page

from benchmarks.cores import core
from pageowner.kernel.process_memory import read_process_memory
from pageowner.kernel.target import Kernel
from pageowner.snapshot.scan import Scan, SectionScan, open_scan
from pageowner.sources import open_core

FILES = ("FILE_PAGE", "SHMEM_PAGE", "BDEV_PAGE")


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "big-6.12"
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    kernel = open_core(core(name))
    scan = open_scan(kernel)
    random.seed(6)
    checked: Counter[str] = Counter()
    wrong = []
    sections = list(scan.sections)
    for section in scan.run():
        for at in _draw(section, wanted // len(sections)):
            word, owner = _fast(scan, section, at)
            pfn = section.pages.section.start + at
            slow = _slow(kernel, pfn, word)
            if slow is None:
                continue
            checked[word] += 1
            if slow != (word, owner):
                wrong.append(f"PFN 0x{pfn:x}: {word} {owner}, but slowly {slow}")
    print(
        f"{sum(checked.values())} pages of {name} compared with drgn's helpers: {dict(checked.most_common())}"
    )
    print(f"{len(wrong)} differ", *wrong[:20], sep="\n")
    if wrong or not checked:
        raise SystemExit(1)


def _draw(section: SectionScan, count: int) -> list[int]:
    """Some pages at random, and two of each kind."""
    n = section.pages.section.n
    found = set(random.sample(range(n), min(count, n)))
    for number in np.unique(section.layer):
        places = np.flatnonzero(section.layer == number)
        found |= set(random.sample(places.tolist(), min(2, len(places))))
    return sorted(at for at in found if section.pages.valid[at])


def _fast(scan: Scan, section: SectionScan, at: int) -> tuple[str, str]:
    run = scan.by_number(int(section.layer[at]))
    row = int(section.owner_rows()[at])
    return run.word, str(run.owners.frame["owner"][row])


def _slow(kernel: Kernel, pfn: int, word: str) -> tuple[str, str] | None:
    """The same by helpers; None for kinds that drgn has none for."""
    prog = kernel.prog
    page = pfn_to_page(prog, pfn)
    head = compound_head(page)
    if PageSlab(head):
        slab = drgn.cast("struct slab *", head)
        return "SLAB_PAGE", slab.slab_cache.name.string_().decode()
    order = _free_order(prog, pfn)
    if order is not None or word == "FREE_PAGE":
        return "FREE_PAGE", f"order {order}"
    mapping = head.mapping.value_()
    if word == "ANON_PAGE":
        anon = mapping & 3 == 1 and head._refcount.counter.value_() > 0
        return _mapped(kernel, pfn) if anon else ("not anonymous", "")
    if word not in FILES:
        return None
    space = drgn.Object(prog, "struct address_space *", value=mapping)
    inode = space.host
    if inode.i_mapping.value_() != mapping:
        return "not a file", ""
    return None if word == "BDEV_PAGE" else (word, _file(word, inode))


def _file(word: str, inode: drgn.Object) -> str:
    number, dev = inode.i_ino.value_(), inode.i_sb.s_dev.value_()
    if word == "FILE_PAGE":
        return f"{inode.i_sb.s_type.name.string_().decode()} {dev >> 20}:{dev & 0xFFFFF} ino {number}"
    first = inode.i_dentry.first
    if not first:
        return f"(deleted) ino {number}"
    dentry = drgn.container_of(first, "struct dentry", "d_u.d_alias")
    return f"{dentry.d_name.name.string_().decode()} ino {number}"


def _mapped(kernel: Kernel, pfn: int) -> tuple[str, str]:
    """The process at whose address drgn's walk of its page tables finds the page."""
    memory = kernel.memo(read_process_memory)
    found = memory.mappings.of_blocks(np.array([pfn]), np.array([1]))
    if not len(found):
        return "ANON_PAGE", "not mapped"
    row = int(np.argmin(found.mm))
    mm = drgn.Object(kernel.prog, "struct mm_struct *", value=int(memory.mms.address[found.mm[row]]))
    there = int(follow_phys(mm, int(found.va[row]))) >> 12
    return (
        ("ANON_PAGE", memory.name(int(found.mm[row]))) if there == pfn else ("mapped elsewhere", hex(there))
    )


def _free_order(prog: drgn.Program, pfn: int) -> int | None:
    """Order of the free block of the buddy allocator that covers the page."""
    for order in range(11):
        head = pfn_to_page(prog, pfn & ~((1 << order) - 1))
        kind = head._mapcount.counter.value_() >> 24 & 0xFF
        if kind == prog.constant("PGTY_buddy") and head.private.value_() >= order:
            return int(head.private)
    return None


if __name__ == "__main__":
    main()
