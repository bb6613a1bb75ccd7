# SPDX-License-Identifier: LGPL-2.1-or-later
"""A fixture: a capture whose core is filtered and whose files are compressed, small enough for git."""

from __future__ import annotations

import json
import lzma
import tempfile
from pathlib import Path

from lab import corefile, keep, kernels

PLAIN = ("provenance.json", "truth.txt", "console.log")
# QEMU's flash lies right below 4 GiB, without struct pages; the lab's guests are smaller.
FIRMWARE = 0xF0000000
# Larger than any filtered core, so that equal pages far apart are found.
DICTIONARY = 64 << 20
XZ = [
    {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": DICTIONARY},
]


def make(capture: Path, out: Path) -> None:
    """Write the fixture of `capture` to the folder `out`. Needs a kernel built here, for its vmlinux."""
    facts = json.loads((capture / "provenance.json").read_text())
    built = kernels.get(facts["kernel"])
    if built.vmlinux is None:
        raise SystemExit("lab: a fixture needs vmlinux: build the kernel (unset PAGEOWNER_KERNELS)")
    out.mkdir(parents=True, exist_ok=True)
    facts["filtered_pages"] = filtered_core(capture / "core", built.vmlinux, out / "core.xz")
    for path in sorted(capture.iterdir()):
        if path.name in PLAIN:
            (out / path.name).write_bytes(path.read_bytes())
        elif path.name != "core":
            compress(path, out / f"{path.name}.xz")
    (out / "provenance.json").write_text(json.dumps(facts, indent=1) + "\n")


def filtered_core(core: Path, vmlinux: Path, out: Path) -> int:
    prog = keep.open_core(core, vmlinux)
    pages = max(paddr + size for paddr, size in loads(core) if paddr < FIRMWARE) // keep.PAGE
    kept = keep.kept_pages(prog, pages)
    with tempfile.TemporaryDirectory(prefix="pageowner-lab-") as name:
        path = Path(name) / "core"
        count = corefile.filter_core(core, kept, path)
        compress(path, out)
    return count


def loads(core: Path) -> list[tuple[int, int]]:
    """(physical address, bytes) of each PT_LOAD."""
    with core.open("rb") as file:
        head = file.read(1 << 20)
    return [(paddr, size) for _, paddr, size in corefile.segments(head)]


def compress(path: Path, out: Path) -> None:
    out.write_bytes(lzma.compress(path.read_bytes(), lzma.FORMAT_XZ, filters=XZ))
