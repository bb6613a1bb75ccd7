# SPDX-License-Identifier: LGPL-2.1-or-later
"""Output files: whole or not at all, nothing overwritten unless told to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pageowner.commands.output import open_output
from pageowner.errors import PageownerError


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    with open_output(target) as out:
        out.write(b"half")
        out.flush()
        assert not target.exists()
        out.write(b" whole")
    assert target.read_bytes() == b"half whole"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), open_output(tmp_path / "out.txt") as out:
        out.write(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_existing_files_need_force(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_bytes(b"old")
    with pytest.raises(PageownerError, match=r"out\.txt exists; use -f to overwrite it"), open_output(target):
        pass
    assert target.read_bytes() == b"old"
    with open_output(target, force=True) as out:
        out.write(b"new")
    assert target.read_bytes() == b"new"


def test_force_keeps_a_symbolic_link_and_the_umask(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    before = os.umask(0o027)
    try:
        with open_output(link, force=True) as out:
            out.write(b"new")
    finally:
        os.umask(before)
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_devices_are_written_directly() -> None:
    with open_output(Path(os.devnull)) as out:
        out.write(b"gone")
    assert not Path(os.devnull).is_file()


def test_dash_is_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with open_output(Path("-")) as out:
        out.write(b"\xff\n")
    assert capfdbinary.readouterr().out == b"\xff\n"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PageownerError, match="is a directory; name a file in it"), open_output(tmp_path):
        pass
    with (
        pytest.raises(PageownerError, match=r"cannot write in .*: No such file or directory"),
        open_output(tmp_path / "no" / "out"),
    ):
        pass
