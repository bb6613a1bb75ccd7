# SPDX-License-Identifier: LGPL-2.1-or-later
"""One capture: boot a kernel, run the workload, take its words, stop it, dump it."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import initramfs, kernels, markers, packages, stock
from lab.qemu import NODE_MIB, Guest

# no_timer_check: on a busy host an emulated timer may be late, which the kernel takes for a broken one.
APPEND = (
    "console=ttyS0 quiet loglevel=4 panic=-1 no_timer_check hugepages=6 cma=16M crashkernel=8M "
    "secretmem.enable=1 zswap.enabled=0 zram.num_devices=2"
)
DISK_MIB, SWAP_MIB = 48, 24
BALLOON_MIB = 4


@dataclass(frozen=True)
class Variant:
    """One sort of capture. `words` go to the guest's kernel and, from there, to its init script.

    cgroups: make pages that are charged to child cgroups. text: save debugfs page_owner.
    nodes: MiB of each NUMA node.
    """

    version: str
    cgroups: bool
    text: bool = True
    words: str = "page_owner=on"
    nodes: tuple[int, ...] = NODE_MIB


# Guard pages, and hugetlb pages whose struct pages are copies of the head's.
HOSTILE = "page_owner=on debug_pagealloc=on debug_guardpage_minorder=1 hugetlb_free_vmemmap=on"
# A hole from 3 to 4 GiB in the second node, a memory block that is taken offline, a huge page of 1 GiB:
# there are three places for one, and the kernel's image and initrd lie in at most two.
LARGE_NODES = (2048, 3840)
LARGE = "hugetlb_free_vmemmap=on hugepagesz=1G hugepages=1 lab_offline=1"
# 4-level paging, no merged slab caches, a tree of 100 forked processes.
FOUR = "no5lvl slab_nomerge lab_tree=tree"

# Debian's 6.12.114 and newer oops when debugfs page_owner meets a page that is charged to a child
# cgroup (README.md), so 6.12 has these pages in a capture of their own, without that text.
VARIANTS = {
    "7.2": Variant("7.2", cgroups=True),
    "6.12": Variant("6.12", cgroups=False),
    "6.1": Variant("6.1", cgroups=True),
    "5.10": Variant("5.10", cgroups=True),
    "6.12-cgroup": Variant("6.12", cgroups=True, text=False, words=HOSTILE),
    "6.12-off": Variant("6.12", cgroups=False, text=False, words=""),
    "6.12-4level": Variant("6.12", cgroups=False, words=f"page_owner=on {FOUR}"),
    "6.12-large": Variant("6.12", cgroups=False, words=f"page_owner=on {LARGE}", nodes=LARGE_NODES),
    **{name: Variant(name, cgroups=True, text=False, words="") for name in stock.STOCK},
    "7.2-cloud-large": Variant("7.2-cloud", cgroups=True, text=False, words=LARGE, nodes=LARGE_NODES),
    "6.1-cloud-4level": Variant("6.1-cloud", cgroups=True, text=False, words=FOUR),
}


def capture(name: str, out: Path) -> None:
    """Make a fresh capture, one of VARIANTS, in the folder `out` (README.md has its files)."""
    variant = VARIANTS[name]
    packages.install(kernels.LAB_PACKAGES)
    built = kernel_of(name)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pageowner-lab-") as folder:
        command = _run_guest(built, variant, Path(folder), out)
    unpack_stream(out / "save.stream", out)
    if not (out / "config.txt").exists():
        shutil.copy(built.folder / "config", out / "config.txt")
    markers.resolve(out)
    (out / "provenance.json").write_text(json.dumps(provenance(name, built, command, out), indent=1) + "\n")


def kernel_of(name: str) -> kernels.Built:
    """The kernel of a capture, one of VARIANTS: Debian's own, or built here."""
    version = VARIANTS[name].version
    return (stock if version in stock.STOCK else kernels).get(version)


def append(variant: Variant) -> str:
    """The kernel's command line; what the kernel does not know reaches init as environment."""
    lab = f"lab_cgroups={'cgroups' if variant.cgroups else ''} lab_text={'text' if variant.text else ''}"
    return " ".join(word for word in (APPEND, variant.words, lab) if word)


def _run_guest(built: kernels.Built, variant: Variant, work: Path, out: Path) -> list[str]:
    initrd = initramfs.build(work, built.folder / "modules")
    options = disks(work) + ports(out)
    with Guest(built.image, initrd, append(variant), work, options, variant.nodes) as guest:
        try:
            guest.wait_for("LAB balloon", 120)
            guest.qmp("balloon", value=(sum(variant.nodes) - BALLOON_MIB) << 20)
            guest.wait_for("LAB saving", 300)
            guest.wait_for("LAB saved", 300)
            guest.dump(out / "core")
        finally:
            (out / "console.log").write_bytes(guest.console.read_bytes())
        return guest.command


def disks(work: Path) -> list[str]:
    """An ext4 file system (vda) and a disk for swap (vdb)."""
    words = []
    for name, mib in (("disk", DISK_MIB), ("swap", SWAP_MIB)):
        path = work / name
        with path.open("wb") as file:
            file.truncate(mib << 20)
        words += ["-drive", f"file={path},format=raw,if=virtio,cache=unsafe"]
    mkfs = ["mkfs.ext4", "-q", "-b", "4096", "-O", "^metadata_csum_seed", str(work / "disk")]
    subprocess.run(mkfs, check=True)
    return words


def ports(out: Path) -> list[str]:
    """Two virtio ports that end in files of the capture."""
    words = ["-device", "virtio-serial-pci"]
    for name, path in (("truth", out / "truth.txt"), ("save", out / "save.stream")):
        path.unlink(missing_ok=True)
        words += ["-chardev", f"file,id={name},path={path}"]
        words += ["-device", f"virtserialport,chardev={name},name=lab.{name}"]
    return words


def unpack_stream(stream: Path, out: Path) -> None:
    """Undo guest/save.c's framing: one file per name, then the stream is removed."""
    data = stream.read_bytes()
    files: dict[str, list[bytes]] = {}
    at = 0
    while True:
        end = data.index(b"\n", at)
        letter, name, size = data[at:end].decode().split(" ")
        if letter == "E":
            break
        at = end + 1 + int(size)
        files.setdefault(name, []).append(data[end + 1 : at])
    config = files.pop("config.gz", None)
    if config:
        files["config.txt"] = [gzip.decompress(b"".join(config))]
    for name, parts in files.items():
        (out / name).write_bytes(b"".join(parts))
    stream.unlink()


def provenance(name: str, built: kernels.Built, command: list[str], out: Path) -> dict[str, object]:
    """What a stranger needs to make the same capture: no path of this machine."""
    qemu = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "capture": name,
        "kernel": built.kernel.version,
        "origin": built.origin,
        **({} if built.kernel.version in stock.STOCK else {"fragment": kernels.fragment_hash(built.kernel)}),
        "config_sha256": _sha256(out / "config.txt"),
        "qemu": qemu.splitlines()[0],
        "machine": [word for word in command[1:] if "/" not in word],
        "append": append(VARIANTS[name]),
        "core_bytes": (out / "core").stat().st_size,
        "core_sha256": _sha256(out / "core"),
        "made_by": f"python3 -m lab capture {name}",
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
