# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which kernel modules a guest loads, in which order, with which parameters.

A distribution's kernel has as modules what the lab's own kernels have built in. A module that the kernel does
not offer is built in, or missing: the guest's words show which (`SKIP` lines of truth.txt).
"""

from __future__ import annotations

import lzma
import re
from pathlib import Path

# qemu_fw_cfg makes the kernel hand its VMCOREINFO to QEMU; lzo-rle is what zram compresses with by default.
WANTED = (
    "qemu_fw_cfg virtio_pci virtio_blk virtio_console virtio_balloon ext4 overlay veth lzo-rle "
    "zram brd hwpoison-inject"
).split()
PARAMETERS = {"brd": "rd_nr=1 rd_size=2048", "zram": "num_devices=2"}
DEPENDS = re.compile(rb"(?:^|\0)depends=([^\0]*)\0")
SUFFIX = re.compile(r"\.ko(\.xz)?$")


def canonical(name: str) -> str:
    """The name that `depends=` uses; a file may have hyphens instead."""
    return name.replace("-", "_")


def available(folder: Path) -> dict[str, Path]:
    """name -> file of each module anywhere below `folder`."""
    files = (path for path in folder.rglob("*.ko*") if SUFFIX.search(path.name))
    return {canonical(SUFFIX.sub("", path.name)): path for path in files}


def read(path: Path) -> bytes:
    """The module, uncompressed."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def load_list(folder: Path) -> list[tuple[str, bytes, str]]:
    """(name, contents, parameters) of the modules to load, each after those that it depends on."""
    files, loaded = available(folder), dict[str, bytes]()
    for name in map(canonical, WANTED):
        _add(name, files, loaded)
    return [(name, data, PARAMETERS.get(name, "")) for name, data in loaded.items()]


def _add(name: str, files: dict[str, Path], loaded: dict[str, bytes]) -> None:
    if name in loaded or name not in files:
        return
    data = read(files[name])
    found = DEPENDS.search(data)
    for needed in found[1].decode().split(",") if found else []:
        _add(canonical(needed), files, loaded)
    loaded[name] = data
