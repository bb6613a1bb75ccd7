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
_SLABS = "makedumpfile 1.7.8, the newest, does not know 7.2 and drops slab pages: counted, status 4"
MARKED: dict[Cell, tuple[str, str]] = {
    Cell("7.2", source, types): ("summary --json -n 1000000", _SLABS)
    for source in ("filtered", "filtered-elf")
    for types in TYPES
}


# What has been seen to pass, at the last run of each: kernel -> types -> sources.
PASSED: dict[str, dict[str, tuple[str, ...]]] = {
    "6.12": {"btf": tuple(SOURCES), "dwarf": tuple(name for name in SOURCES if name != "live")},
    "6.1": {types: tuple(SOURCES) for types in TYPES},
    "5.10": {types: tuple(name for name in SOURCES if name != "live") for types in TYPES},
    "7.2": {
        types: tuple(name for name in SOURCES if name not in ("filtered", "filtered-elf")) for types in TYPES
    },
}


def markdown() -> str:
    """The table of docs/sources.md: a row per source, a column per kernel."""
    lines = [f"| source | {' | '.join(KERNELS)} |", f"|---|{'---|' * len(KERNELS)}"]
    for source in SOURCES.values():
        fields = [_field(version, source.name) for version in KERNELS]
        lines.append(f"| {source.what} | {' | '.join(fields)} |")
    lines += [
        f"\n[{number}] with {cell.types.upper()}: `{command}`: {limit}"
        for number, (cell, (command, limit)) in enumerate(MARKED.items(), 1)
    ]
    return "\n".join(lines)


def _field(version: str, source: str) -> str:
    passed = [t.upper() for t in TYPES if source in PASSED.get(version, {}).get(t, ())]
    bad = [f"[{n}]" for n, c in enumerate(MARKED, 1) if (c.version, c.source) == (version, source)]
    return " ".join([*passed, *bad]) or "not run yet"
