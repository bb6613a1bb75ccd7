# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debug information from the network: never unless asked for, and then as drgn does it."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import drgn
import pytest

from tests.conftest import Capture


class Server(http.server.HTTPServer):
    """A debuginfod that has nothing, and notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def summary(core: Path, server: Server, cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
    where = {
        "DEBUGINFOD_URLS": f"http://127.0.0.1:{server.server_port}",
        "DEBUGINFOD_CACHE_PATH": str(cache),
    }
    line = [sys.executable, "-m", "pageowner", "summary", "-c", str(core), *options]
    return subprocess.run(line, env=os.environ | where, capture_output=True, text=True, check=False)


def test_nobody_is_asked_unasked(capture: Capture, server: Server, tmp_path: Path) -> None:
    assert summary(capture.core, server, tmp_path).returncode == 0
    (tmp_path / "vmlinux").write_bytes(Path(sys.executable).read_bytes())
    done = summary(capture.core, server, tmp_path, "-s", str(tmp_path / "vmlinux"))
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "vmlinux is another kernel's (its build ID differs), or has no debug information" in done.stderr
    assert server.asked == []


@pytest.mark.skipif(
    "debuginfod" not in drgn.Program().registered_debug_info_finders(), reason="drgn without debuginfod"
)
def test_auto_asks(capture: Capture, server: Server, tmp_path: Path) -> None:
    done = summary(capture.core, server, tmp_path, "-s", "auto")
    assert done.returncode == 1
    assert done.stderr.startswith("pageowner: error: no debug information of this kernel is installed, and")
    assert done.stderr.count("\n") == 1
    build_id = drgn_build_id(capture.core)
    assert server.asked == [f"/buildid/{build_id}/debuginfo"]


def drgn_build_id(core: Path) -> str:
    prog = drgn.Program()
    prog.set_core_dump(core)
    content: bytes = prog["VMCOREINFO"].string_()
    return next(line[9:].decode() for line in content.split(b"\n") if line.startswith(b"BUILD-ID="))
