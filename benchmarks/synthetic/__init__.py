# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine of 1 TiB made of a real core of 7.3 GiB: the same memory over and over, each time elsewhere.

Physical memory is cut into slots. Slot 0 is the core itself. Most others are clones: the bytes of the core
with every pointer into memory that is cloned, too, moved by as much as the slot is (relocate.py); lists run
on from clone to clone, and numbers that tell things apart (pid, inode number, stack handle) go on counting
(seed.py, patches.py). The rest is one huge shmem file, and the page tables with which 200 processes map it.
All of that is worked out when it is read (machine.py): nothing is stored.
"""
