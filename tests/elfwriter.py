# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small ELF cores, made from literals."""

from __future__ import annotations

import struct

UTS = 0x2000  # physical address of init_uts_ns.name in MEMORY
RELEASE = b"6.12.1-test"

VMCOREINFO = (
    b"OSRELEASE=" + RELEASE + b"\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff81002000\n"
    b"OFFSET(uts_namespace.name)=0\nSYMBOL(swapper_pg_dir)=ffffffff81003000\n"
    b"SYMBOL(mem_section)=ffffffff81001000\nLENGTH(mem_section)=2048\nSIZE(mem_section)=32\n"
    b"NUMBER(phys_base)=-16777216\nNUMBER(pgtable_l5_enabled)=0\nKERNELOFFSET=0\n"
    b"NUMBER(SECTION_SIZE_BITS)=27\nNUMBER(MAX_PHYSMEM_BITS)=46\n"
)


def uts(release: bytes = RELEASE) -> bytes:
    """struct new_utsname."""
    names = (b"Linux", b"host", release, b"#1", b"x86_64", b"(none)")
    return b"".join(name.ljust(65, b"\0") for name in names)


def memory(release: bytes = RELEASE, extra: bytes = b"") -> bytes:
    """0x10000 bytes of physical memory from 0x1000: UTS, page tables for the image, ``extra`` at 0x8000."""
    ram = bytearray(0x11000)
    ram[UTS : UTS + len(uts())] = uts(release)
    # ffffffff81000000 + x -> x: one entry each in PGD (0x3000), P4D-less PUD (0x4000), PMD 2 MiB (0x5000).
    struct.pack_into("<Q", ram, 0x3000 + 8 * 511, 0x4000 | 0x63)
    struct.pack_into("<Q", ram, 0x4000 + 8 * 510, 0x5000 | 0x63)
    struct.pack_into("<Q", ram, 0x5000 + 8 * 8, 0x0 | 0xE3)
    ram[0x8000 : 0x8000 + len(extra)] = extra
    return bytes(ram[0x1000:])


def note(name: bytes, content: bytes, kind: int = 0) -> bytes:
    """An ELF note."""
    return (
        struct.pack("<III", len(name) + 1, len(content), kind)
        + (name + b"\0").ljust(-(-(len(name) + 1) // 4) * 4, b"\0")
        + content.ljust(-(-len(content) // 4) * 4, b"\0")
    )


def core(
    notes: bytes | None = None,
    loads: list[tuple[int, bytes]] | None = None,
    *,
    machine: int = 62,
    elf_type: int = 4,
    ident: bytes = b"\x7fELF\2\1\1",
) -> bytes:
    """A core: ``loads`` are (physical address, bytes); by default VMCOREINFO and MEMORY."""
    notes = note(b"VMCOREINFO", VMCOREINFO) if notes is None else notes
    loads = [(0x1000, memory())] if loads is None else loads
    count = 1 + len(loads)
    at = 64 + 56 * count
    order = ">" if ident[5:6] == b"\2" else "<"
    header = ident.ljust(16, b"\0") + struct.pack(
        f"{order}HHIQQQIHHHHHH", elf_type, machine, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0
    )
    headers = [struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(notes), len(notes), 4)]
    at += len(notes)
    for address, data in loads:
        headers.append(struct.pack("<IIQQQQQQ", 1, 7, at, 0, address, len(data), len(data), 4096))
        at += len(data)
    return header + b"".join(headers) + notes + b"".join(data for _, data in loads)
