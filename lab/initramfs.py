# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest's first root file system: busybox, the static workload, an init script."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

from lab import modules

HERE = Path(__file__).parent
BUSYBOX = Path("/bin/busybox")
FOLDERS = "bin dev proc sys tmp modules mnt".split()
CFLAGS = "-static -O1 -g0 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-format-truncation -pthread".split()


def compile_workload(work: Path) -> dict[str, Path]:
    """Build the static programs; name in the guest -> file."""
    programs = {"workload": sorted((HERE / "workload").glob("*.c")), "save": [HERE / "guest" / "save.c"]}
    out = {}
    for name, sources in programs.items():
        out[name] = work / name
        subprocess.run(["gcc", *CFLAGS, "-o", str(out[name]), *map(str, sources)], check=True)
        subprocess.run(["strip", str(out[name])], check=True)
    return out


def build(work: Path, module_folder: Path) -> Path:
    """Write initrd.gz below `work` and give its path. Modules come from `module_folder` (lab/modules.py)."""
    files = {f"bin/{name}": path for name, path in compile_workload(work).items()}
    files |= {"bin/busybox": BUSYBOX, "init": HERE / "guest" / "init"}
    files |= module_files(module_folder, work)
    out = work / "initrd.gz"
    with gzip.open(out, "wb", compresslevel=1) as archive:
        archive.write(cpio(files))
    return out


def module_files(folder: Path, work: Path) -> dict[str, Path]:
    """The modules, and `modules/load`: a line per module in the order of loading, with its parameters."""
    lines, files = [], {"modules/load": work / "load"}
    for name, data, parameters in modules.load_list(folder):
        files[f"modules/{name}.ko"] = work / f"{name}.ko"
        (work / f"{name}.ko").write_bytes(data)
        lines.append(f"{name} {parameters}\n")
    (work / "load").write_text("".join(lines))
    return files


def cpio(files: dict[str, Path]) -> bytes:
    """A "newc" archive of the folders above, a console node, and `files`, all executable."""
    entries = [(name, 0o40755, b"") for name in FOLDERS]
    entries += [(name, 0o100755, path.read_bytes()) for name, path in files.items()]
    parts = [_entry(i, *entry) for i, entry in enumerate(entries, 1)]
    parts.append(_entry(99, "dev/console", 0o20600, b"", rdev=(5, 1)))
    return b"".join([*parts, _entry(0, "TRAILER!!!", 0, b"")])


def _entry(ino: int, name: str, mode: int, data: bytes, rdev: tuple[int, int] = (0, 0)) -> bytes:
    raw = name.encode() + b"\0"
    fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0)
    head = b"070701" + b"".join(b"%08x" % f for f in fields) + raw
    return _pad(head) + _pad(data)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
