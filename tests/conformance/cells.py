# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cells of the conformance table: every source, with and without debug information, on every kernel."""

from __future__ import annotations

from dataclasses import dataclass

from lab.kernels import KERNELS


@dataclass(frozen=True)
class Source:
    """How a guest's memory is looked at. ``guest``: which of a kernel's guests (worlds.py). ``options``: of
    makedumpfile, for a file that it makes of the ELF core; None for what is no such file."""

    name: str
    what: str
    guest: str = "paused"
    options: tuple[str, ...] | None = None


SOURCES = {
    source.name: source
    for source in (
        Source("live", "the running kernel, inside the guest", "live"),
        Source("qmp", "QEMU guest, stopped"),
        Source("qmp-bare", "the same without the vmcoreinfo device", "bare"),
        Source("elf", "QEMU's ELF core"),
        Source("elf-bare", "the same without the vmcoreinfo device", "bare"),
        Source("zlib", "kdump-compressed file, zlib", options=("-c",)),
        Source("lzo", "kdump-compressed file, lzo", options=("-l",)),
        Source("zstd", "kdump-compressed file, zstd", options=("-z",)),
        Source("snappy", "kdump-compressed file, snappy"),
        Source("plain", "kdump-compressed file, not compressed", options=()),
        Source("flattened", "flattened dump", options=("-F", "-c")),
        Source("filtered", "filtered kdump-compressed file (`-d 31`)", options=("-c", "-d", "31")),
        Source("filtered-elf", "filtered ELF core (`-E -d 31`)", options=("-E", "-d", "31")),
    )
}
TYPES = ("btf", "dwarf")


@dataclass(frozen=True)
class Cell:
    version: str
    source: str
    types: str

    def __str__(self) -> str:
        return f"{self.version}-{self.source}-{self.types}"


CELLS = [Cell(v, s, t) for v in KERNELS for s in SOURCES for t in TYPES]
# What cannot be: cell -> the command that fails, and the limit of another project behind it. At most four.
MARKED: dict[Cell, tuple[str, str]] = {}


def markdown() -> str:
    """The table of docs/sources.md: a row per source, a column per kernel."""
    lines = [
        f"| source | {' | '.join(KERNELS)} |",
        f"|---|{'---|' * len(KERNELS)}",
    ]
    notes = list(MARKED)
    for source in SOURCES.values():
        fields = []
        for version in KERNELS:
            bad = [str(notes.index(c) + 1) for c in notes if (c.version, c.source) == (version, source.name)]
            fields.append(f"not [{', '.join(bad)}]" if bad else "yes")
        lines.append(f"| {source.what} | {' | '.join(fields)} |")
    lines += [
        f"\n[{number}] with {cell.types.upper()}: `{MARKED[cell][0]}`: {MARKED[cell][1]}"
        for number, cell in enumerate(notes, 1)
    ]
    return "\n".join(lines)
