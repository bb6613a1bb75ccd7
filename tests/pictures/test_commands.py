# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands that make pages: what they write where, and how a page names its source."""

from __future__ import annotations

import io
import shlex
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from pageowner.commands import command_parser, main
from pageowner.commands.filters import OPTIONS, filter_of
from pageowner.commands.options import selection
from pageowner.commands.parser import UsageError
from pageowner.commands.pictures import only_words, refuse_terminal, source_text
from tests.conftest import Capture
from tests.pictures.test_payload import unpack, written

GIVEN = """--kind=slab --kind=anon --owner=-x* --pfn=0x10-32 --pfn=7 --order=3-9 --tgid=5 --older=90
    --gfp=GFP_KERNEL|__GFP_ZERO"""
SOURCES = ["vmcore", "'a b'", "-c ./-x", "--qemu 'x y.qmp'", "--demo", "-k", "c -s vmlinux --kallsyms 'k s'"]


def test_filters_can_be_said_again() -> None:
    parser = command_parser("html")
    args = parser.parse_args([*GIVEN.split(), "vmcore"])
    words = only_words(args)
    assert filter_of(parser.parse_args([*words, "vmcore"])) == filter_of(args)
    assert len(words) == 9 and {word.split("=")[0] for word in words} < {option.flag for option in OPTIONS}


@pytest.mark.parametrize("line", SOURCES)
def test_sources_can_be_named_again(line: str) -> None:
    chosen = selection(command_parser("html").parse_args(shlex.split(line)))
    again = selection(command_parser("html").parse_args(shlex.split(source_text(chosen))))
    assert again == chosen


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_a_page_does_not_go_to_a_terminal() -> None:
    with pytest.raises(UsageError, match=r"-o vmcore\.html"):
        refuse_terminal(Namespace(output=None, source=Path("dir/vmcore")), Terminal())
    refuse_terminal(Namespace(output=Path("-"), source=None), Terminal())
    refuse_terminal(Namespace(output=None, source=None), io.BytesIO())


def test_a_part_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "slab.html"
    assert main(["html", "--demo", "--kind", "slab", "-o", str(path)]) == 0
    header, columns = page_of(path)
    assert header["only"] == ["--kind=slab"] and header["source"] == "--demo"
    assert [kind["word"] for kind in header["words"]] == ["SLAB_PAGE"] and header["summary"]["counters"] == []
    assert main(["html", "--demo", "-o", str(path)]) == 1  # it is there
    assert sum(columns["usage_pages"]) == header["summary"]["totals"]["struct_pages"]


def test_a_text_has_all_but_the_map(capture: Capture, tmp_path: Path) -> None:
    source, path = tmp_path / "page owner.txt", tmp_path / "text.html"
    source.write_bytes(capture.read("page_owner.txt"))
    assert main(["html", str(source), "-o", str(path)]) == 0
    header, columns = page_of(path)
    assert header["lacking"] == ["map"] and header["source"] == shlex.quote(str(source))
    assert "not in it" in header["remarks"][0] and sum(columns["usage_pages"]) > 10_000
    assert main(["map", str(source), "-o", str(tmp_path / "map.html")]) == 1
    assert main(["flamegraph", str(source), "-o", str(tmp_path / "flame.html")]) == 0


def page_of(path: Path) -> tuple[dict[str, object], dict[str, list[int]]]:
    text = path.read_text()
    assert text.startswith("<!DOCTYPE html>") and len(text) < 1_000_000
    start = text.index('id="data">') + len('id="data">')
    return unpack(text[start : text.index("</script>", start)])


def test_written_is_what_is_read() -> None:
    assert written("QQ==")[1].inside["application/octet-stream"] == "QQ=="


@pytest.mark.lab
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64")
def test_a_guest_draws_like_its_core(tmp_path: Path) -> None:
    """The same stopped guest by QMP and by its core; while it runs there is a page of it, too."""
    from lab import guests

    with guests.idle(tmp_path, "6.12") as guest:
        address, pages = str(guest.socket), {}
        qemu, core = ["--qemu", address], [str(tmp_path / "core")]
        sources = {"running": qemu, "stopped": qemu, "core": core}
        for name, source in sources.items():
            if name == "stopped":
                guest.dump(tmp_path / "core")  # stops it
            target = str(tmp_path / f"{name}.html")
            command = [sys.executable, "-m", "pageowner", "html", *source, "-o", target]
            assert subprocess.run(command, check=False).returncode == 0
            pages[name] = page_of(tmp_path / f"{name}.html")
    assert pages["running"][0]["views"] == ["balance", "flame", "treemap", "map"]
    assert pages["stopped"][1] == pages["core"][1]
    assert pages["stopped"][0]["summary"] == pages["core"][0]["summary"]
