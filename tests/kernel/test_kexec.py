# SPDX-License-Identifier: LGPL-2.1-or-later
"""The entries of an image for kexec: tables of pages, each of which ends in the next."""

from __future__ import annotations

import struct

import drgn

from pageowner.kernel.kexec import image_pages

DESTINATION, INDIRECTION, DONE, SOURCE = 1, 2, 4, 8


def reader(tables: dict[int, list[int]]) -> object:
    def read(address: int, size: int) -> bytes:
        if address not in tables:
            raise drgn.FaultError("not there", address)
        words = tables[address]
        return struct.pack(f"<{len(words)}Q", *words).ljust(size, b"\0")

    return read


def test_sources_and_tables_are_pages_of_the_image() -> None:
    tables = {
        0x5000: [0x100000 | DESTINATION, 0x7000 | SOURCE, 0x9000 | SOURCE, 0x6000 | INDIRECTION],
        0x6000: [0x8000 | SOURCE, DONE, 0xA000 | SOURCE],
    }
    assert sorted(image_pages(reader(tables), 0x5000 | INDIRECTION)) == [5, 6, 7, 8, 9]  # type: ignore[arg-type]
    assert not len(image_pages(reader(tables), 0))  # type: ignore[arg-type]


def test_a_torn_image_ends() -> None:
    tables = {0x5000: [0x7000 | SOURCE, 0x6000 | INDIRECTION], 0x6000: [0x5000 | INDIRECTION]}
    assert sorted(image_pages(reader(tables), 0x5000 | INDIRECTION)) == [5, 6, 7]  # type: ignore[arg-type]
    lost = {0x5000: [0x7000 | SOURCE, 0x4000 | INDIRECTION]}
    assert sorted(image_pages(reader(lost), 0x5000 | INDIRECTION)) == [4, 5, 7]  # type: ignore[arg-type]
