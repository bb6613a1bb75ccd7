# SPDX-License-Identifier: LGPL-2.1-or-later
"""One file opened as root for an ordinary user: only its descriptor crosses over, by SCM_RIGHTS.

The program, its plugins and its output files stay the user's.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

from pageowner.errors import SourceError

# Runs as root, isolated from the user's environment and site packages; argv: socket, file.
_HELPER = (
    "import os, socket, sys\n"
    "link = socket.socket(socket.AF_UNIX)\n"
    "link.connect(sys.argv[1])\n"
    "try:\n"
    "    socket.send_fds(link, [b'0'], [os.open(sys.argv[2], os.O_RDONLY | os.O_CLOEXEC)])\n"
    "except OSError as error:\n"
    "    link.sendall(str(error.errno).encode())\n"
)
_PEER = struct.Struct("3i")
_SECONDS = 10.0


def can_ask() -> bool:
    """Whether there is a sudo, and a terminal on which it can ask for a password."""
    return shutil.which("sudo") is not None and sys.stdin is not None and sys.stdin.isatty()


def open_as_root(path: str) -> int:
    """A descriptor of *path*, opened for reading by root.

    :raises SourceError: when sudo is refused; ``OSError`` with the errno that root got.
    """
    with tempfile.TemporaryDirectory(prefix="pageowner-") as folder, socket.socket(socket.AF_UNIX) as server:
        address = os.path.join(folder, "socket")
        server.bind(address)
        server.listen(1)
        command = [
            "sudo", "-p", f"[sudo] password for %p, to open {path}: ", "--",
            os.path.realpath(sys.executable), "-I", "-S", "-c", _HELPER, address, path,
        ]  # fmt: skip
        try:
            status = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise SourceError(f"cannot run sudo: {error.strerror}") from error
        if status:
            raise SourceError(f"sudo did not open {path} (status {status})")
        return _receive(server, path)


def _receive(server: socket.socket, path: str) -> int:
    server.settimeout(_SECONDS)
    try:
        link, _ = server.accept()
    except TimeoutError as error:
        raise SourceError(f"sudo ended without opening {path}") from error
    with link:
        link.settimeout(_SECONDS)
        _, uid, _ = _PEER.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        message, descriptors, _, _ = socket.recv_fds(link, 16, 1)
        if uid != 0:
            raise SourceError(f"not root, but user {uid} answered for {path}")
    if not descriptors:
        number = int(message or b"0")
        raise OSError(number, os.strerror(number), path)
    return descriptors[0]
