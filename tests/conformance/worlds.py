# SPDX-License-Identifier: LGPL-2.1-or-later
"""One kernel's guests, and what every source says of them: asked when a cell first needs it, and kept."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from functools import cache, cached_property
from pathlib import Path

import pytest

from lab import dumpfile, guest_python, guests, kernels
from tests.conformance.cells import SOURCES, Cell, Source
from tests.sources import kdumpwriter

ANSWERS = Path(__file__).with_name("answers.py")
ROOT = Path(__file__).parents[2]
# Debug information is read through 9p, by an emulated machine.
SECONDS = 3000.0
LIVE = """
{python} {answers} /tmp/work/live-btf
[ -n "{vmlinux}" ] && {python} {answers} /tmp/work/live-dwarf -s "{vmlinux}"
"""


class World:
    """The guests of one kernel. :meth:`answers` boots what it needs; :meth:`close` ends them."""

    def __init__(self, version: str, folder: Path) -> None:
        self.version, self.folder = version, folder
        self.built = existing(version)
        self.stack = ExitStack()
        self._answers: dict[Cell, dict[str, list[object]]] = {}

    def close(self) -> None:
        self.stack.close()

    def answers(self, cell: Cell) -> dict[str, list[object]]:
        """command -> [status, standard output, standard error]."""
        if cell not in self._answers:
            self._answers[cell] = self._ask(cell)
        return self._answers[cell]

    def reference(self, cell: Cell) -> dict[str, list[object]]:
        """What the ELF core of the cell's guest says, by BTF."""
        guest = SOURCES[cell.source].guest
        name = {"paused": "elf", "bare": "elf-bare", "live": "elf-of-live"}[guest]
        return self.answers(Cell(cell.version, name, "btf"))

    def _ask(self, cell: Cell) -> dict[str, list[object]]:
        if cell.types == "dwarf" and self.built.vmlinux is None:
            pytest.skip("a prebuilt kernel without vmlinux")
        if cell.source == "live":
            _ = self.live
            return _read(self.folder / "live" / f"live-{cell.types}")
        out = self.folder / f"{cell}.json"
        line = [sys.executable, str(ANSWERS), str(out), *self._options(cell.source)]
        if cell.types == "dwarf":
            line += ["-s", str(self.built.vmlinux)]
        subprocess.run(line, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        return _read(out)

    def _options(self, name: str) -> list[str]:
        if name == "qmp":
            return ["--qemu", str(self.paused.socket)]
        if name == "qmp-bare":
            return ["--qemu", str(self.bare.socket)]
        if name == "elf-of-live":
            return ["-c", str(self.live)]
        if name in ("elf", "elf-bare"):
            _ = self.paused if name == "elf" else self.bare
            return ["-c", str(self.folder / name / "core")]
        return ["-c", str(self._file(SOURCES[name]))]

    @cached_property
    def paused(self) -> guests.SmallGuest:
        return self._idle("elf", device=True)

    @cached_property
    def bare(self) -> guests.SmallGuest:
        return self._idle("elf-bare", device=False)

    def _idle(self, name: str, device: bool) -> guests.SmallGuest:
        """An idle guest, stopped, its memory in the folder's ``core``."""
        work = self.folder / name
        work.mkdir(exist_ok=True)
        guest = self.stack.enter_context(guests.idle(work, self.version, device=device))
        guest.dump(work / "core")
        return guest

    @cached_property
    def live(self) -> Path:
        """The core of a guest in which the live source has just been asked."""
        work = self.folder / "live"
        work.mkdir(exist_ok=True)
        script = guest_python.environment(ROOT / "src") + LIVE.format(
            python=sys.executable, answers=ANSWERS, vmlinux=self.built.vmlinux or ""
        )
        with guests.scripted(work, self.version, script, words="page_owner=on", mib=1024) as guest:
            guest.wait_for(guests.DONE, SECONDS)
            guest.dump(work / "core")
        return work / "core"

    def _file(self, source: Source) -> Path:
        path = self.folder / source.name
        if path.exists():
            return path
        if source.options is None:
            return kdumpwriter.save(path, snappy_dump(self.mended))
        dumpfile.dump("1.7.8", self.mended, path, *source.options)
        return path

    @cached_property
    def mended(self) -> Path:
        """The core with its program headers where makedumpfile expects them: right behind the ELF header."""
        _ = self.paused
        path = self.folder / "mended"
        shutil.copyfile(self.folder / "elf" / "core", path)
        dumpfile.mend(path)
        return path


def existing(version: str) -> kernels.Built:
    """The kernel, unless it would have to be built first: then the test is skipped."""
    prebuilt = Path(os.environ.get("PAGEOWNER_KERNELS", "/nonexistent")) / version / "bzImage"
    if not (kernels.cache_folder(kernels.KERNELS[version]) / "bzImage").exists() and not prebuilt.exists():
        pytest.skip(f"no kernel {version}: python3 -m lab kernels {version}")
    return kernels.get(version)


def snappy_dump(core: Path) -> bytes:
    """No makedumpfile of Debian has snappy: the file is written here, by the real library if there is one."""
    content = core.read_bytes()
    pages = {pfn: page for pfn, page in kdumpwriter.elf_pages(content).items() if pfn < 1 << 18}
    return kdumpwriter.kdump(pages, kdumpwriter.elf_note(content), codec="snappy", pack=library_snappy())


@cache
def library_snappy():  # type: ignore[no-untyped-def]
    """``snappy_compress()`` of libsnappy; None without it, and then pages are stored as snappy literals."""
    name = ctypes.util.find_library("snappy")
    if not name:
        return None
    library = ctypes.CDLL(name)

    def pack(page: bytes) -> bytes:
        size = ctypes.c_size_t(library.snappy_max_compressed_length(len(page)))
        out = ctypes.create_string_buffer(size.value)
        assert library.snappy_compress(page, ctypes.c_size_t(len(page)), out, ctypes.byref(size)) == 0
        return out.raw[: size.value]

    return pack


def _read(path: Path) -> dict[str, list[object]]:
    found: dict[str, list[object]] = json.loads(path.read_text())
    return found
