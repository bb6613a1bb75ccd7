# SPDX-License-Identifier: LGPL-2.1-or-later
"""Texts as files, packed or not, and as pipes."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pageowner.commands import main
from pageowner.errors import SourceError
from pageowner.ownertext.read import read_text
from pageowner.ownertext.source import open_text
from tests.ownertext.texts import FORMS, SLAB_STACK, record

TEXT = FORMS["6.1"] + record(pfn=9, order=2, comm=b"x\n\ny", stack=SLAB_STACK)


def zstd(raw: bytes) -> bytes:
    return subprocess.run(["zstd", "-c"], input=raw, capture_output=True, check=True).stdout


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstd,
}


@pytest.fixture(params=PACKERS)
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"text.{request.param}"
    path.write_bytes(PACKERS[request.param](TEXT))
    return path


def test_packed_texts_are_read_as_they_are(packed: Path) -> None:
    with open_text(packed) as blocks:
        assert read_text(blocks).records["pfn"].to_list() == [4097, 9]


def test_packed_texts_are_sources(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["report", "--kernel-format", str(packed), "-o", str(out)]) == 0
    assert out.read_bytes() == TEXT
    assert main(["sort", "--cull=p", str(packed), str(out), "--force"]) == 0
    assert main(["summary", "--json", str(packed), "-o", str(out), "-f"]) == 0
    kinds = {kind["word"]: kind["pages"] for kind in json.loads(out.read_bytes())["kinds"]}
    assert kinds == {"ANON_PAGE": 1, "SLAB_PAGE": 4}


@pytest.mark.parametrize("packer", ["plain", "zst"])
@pytest.mark.parametrize(
    "words", [["report", "--kernel-format", "-"], ["sort", "--cull=p", "-", "-"]], ids=" ".join
)
def test_pipes(words: list[str], packer: str) -> None:
    line = [sys.executable, "-m", "pageowner", *words]
    done = subprocess.run(line, input=PACKERS[packer](TEXT), capture_output=True, check=True)
    assert done.stdout == (TEXT if words[0] == "report" else b"2 times, 5 pages, PID 7\n")
    assert done.stderr == b""


def test_a_named_pipe_is_a_text(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", f"cat > {pipe}"], stdin=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        writer.stdin.write(TEXT)
        writer.stdin.close()
        assert main(["summary", str(pipe), "-o", str(tmp_path / "out")]) == 0


def test_damaged_archives_give_what_can_be_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "text.gz", tmp_path / "out"
    text = b"".join(record(pfn=i, ts=i * 7919) for i in range(5000))
    path.write_bytes(gzip.compress(text)[:-5000])
    assert main(["sort", "--cull=p", str(path), str(out)]) == 4
    assert "gzip data is damaged or cut off" in capsys.readouterr().err
    times = int(out.read_bytes().split(b" times")[0])
    assert 1000 < times < 5000


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(SourceError, match="cannot read"), open_text(path) as blocks:
            list(blocks)


def test_summary_says_what_it_cannot_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text"
    path.write_bytes(TEXT + FORMS["RFC"] + FORMS["freed"])
    assert main(["summary", "--json", str(path)]) == 0
    captured = capsys.readouterr()
    assert "free and reserved pages" in captured.err
    assert "the kinds of 5 of 6 pages are inferred" in captured.err
    assert "1 records tell of last frees" in captured.err
    found = json.loads(captured.out)
    assert found["totals"]["struct_pages"] == sum(kind["pages"] for kind in found["kinds"]) == 6
    assert {"word": "ANON_PAGE", "owner": "pid 6 (a b) c)", "pages": 1} in found["top"]
    assert {"word": "SLAB_PAGE", "owner": "brd_alloc+0x1ac [brd]", "pages": 4} in found["top"]


def test_summary_shows_only_what_a_text_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No zones, no reserved pages, no holes and no counters: neither as numbers nor as empty tables."""
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    assert main(["record", "-o", str(tmp_path / "snap"), str(path)]) == 0
    for source in (path, tmp_path / "snap"):
        assert main(["summary", str(source)]) == 0
        text = capsys.readouterr().out
        assert "\n5 pages in the text\n" in text
        assert not [word for word in ("struct pages", "present", "reserved", "counter") if word in text]
        assert main(["summary", "--json", str(source)]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["totals"] == {"struct_pages": 5} and found["counters"] == []


def test_what_a_text_does_not_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    assert main(["summary", "--by", "process", str(path)]) == 1
    assert "does not say which pages belong to which process" in capsys.readouterr().err
    assert main(["report", "--freed", str(path)]) == 2
    assert "--freed needs a kernel" in capsys.readouterr().err


def test_report_infers_owner_lines_and_says_so(tmp_path: Path) -> None:
    path, out = tmp_path / "text", tmp_path / "out"
    path.write_bytes(TEXT + FORMS["mappings"])
    assert main(["report", str(path), "-o", str(out)]) == 0
    lines = out.read_bytes().split(b"\n")
    assert b"ANON_PAGE inferred:stack caller:do_anonymous_page+0x52" in lines
    assert b"SLAB_PAGE inferred:stack caller:brd_alloc+0x1ac [brd]" in lines
    assert b"ANON_PAGE address 0x4c4000 +3 pages of 2 other owners" in lines
    again = read_text([out.read_bytes()])
    assert again.records["inferred"].to_list() == [True, True, False]
    assert main(["report", "--pfn", "8-9", "--kernel-format", str(path), "-o", str(out), "-f"]) == 0
    assert out.read_bytes() == TEXT[len(FORMS["6.1"]) :]


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceError, match="standard input is closed"), open_text(Path("-")) as blocks:
        list(blocks)


def test_a_terminal_gets_no_control_characters() -> None:
    from pageowner.ownertext.health import Health
    from pageowner.ownertext.rewrite import rewritten

    raw = record(comm=b"\x1b[2J\n") + record().replace(b"order 0", b"order 00\x1b")
    shown = b"".join(rewritten(Health().cuts([raw]), visible=True))
    assert b"\x1b" not in shown and b"(\\033[2J\\012)" in shown
    assert b"".join(rewritten(Health().cuts([raw]), owners=False)) == raw
