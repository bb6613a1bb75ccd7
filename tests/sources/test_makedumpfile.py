# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real makedumpfile on a raw core of the lab: every format says what the raw core says, row for row."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from pageowner.snapshot.tables import Snapshot, take_snapshot
from pageowner.sources.opening import open_core
from tests.conftest import Capture

FORMS = {"zlib": ["-c"], "lzo": ["-l"], "plain": [], "elf": ["-E"], "flattened": ["-F", "-c"]}
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("makedumpfile"), reason="needs makedumpfile"),
]


@pytest.fixture(scope="module")
def mended(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core with its program headers where makedumpfile expects them: right behind the ELF header."""
    if capture.core.stat().st_size < 200 << 20:
        pytest.skip("a fixture is filtered already; --captures DIR has raw cores")
    from lab import dumpfile

    path = tmp_path_factory.mktemp("raw") / "core"
    shutil.copyfile(capture.core, path)
    dumpfile.mend(path)
    return path


@pytest.fixture(scope="module")
def raw(mended: Path) -> Snapshot:
    return take_snapshot(open_core(mended))


def rows(snapshot: Snapshot) -> pl.DataFrame:
    return snapshot.owners.select("word", "owner", "pages").sort("word", "owner", "pages")


@pytest.mark.parametrize("form", FORMS)
def test_every_format_says_the_same(mended: Path, raw: Snapshot, form: str, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    command = ["makedumpfile", "-d", "31", *FORMS[form], str(mended)]
    if form == "flattened":
        with path.open("wb") as out:
            subprocess.run(command, check=True, stdout=out, stderr=subprocess.DEVNULL)
    else:
        subprocess.run([*command, str(path)], check=True, stdout=subprocess.DEVNULL)
    assert path.stat().st_size < mended.stat().st_size / 4
    filtered = take_snapshot(open_core(path))
    assert sum(filtered.owners["pages"]) == sum(raw.owners["pages"])
    if filtered.coverage.structures:  # makedumpfile before 1.7.8 on kernels from 6.10 on: it must be said
        assert filtered.partial
        assert any("makedumpfile before 1.7.8" in line for line in filtered.remarks)
    else:
        assert rows(filtered).equals(rows(raw))
        assert filtered.partial == raw.partial
