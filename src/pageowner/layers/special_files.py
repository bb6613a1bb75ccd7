# SPDX-License-Identifier: LGPL-2.1-or-later
"""Page caches of files that are no files: AIO rings and secret memory."""

from __future__ import annotations

from pageowner.layers.file import PLACE, OperationsLayer


class AioRing(OperationsLayer):
    """AIO_RING_PAGE: the ring of io_setup(2) is the page cache of an inode of its own (fs/aio.c)."""

    word = "AIO_RING_PAGE"
    line = "AIO_RING_PAGE " + PLACE
    before = ("FILE_PAGE",)
    operations = ("aio_ctx_aops",)


class SecretMem(OperationsLayer):
    """SECRETMEM_PAGE: memory of memfd_secret(2), which the kernel itself does not map (mm/secretmem.c)."""

    word = "SECRETMEM_PAGE"
    line = "SECRETMEM_PAGE " + PLACE
    before = ("FILE_PAGE",)
    operations = ("secretmem_aops",)
