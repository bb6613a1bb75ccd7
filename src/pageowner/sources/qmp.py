# SPDX-License-Identifier: LGPL-2.1-or-later
"""The QEMU Machine Protocol, as much of it as is needed beside drgn on the same connection.

QEMU talks to one client at a time, so drgn gets a duplicate of our descriptor: while it is idle we
may ask on ours. Protocol: docs/interop/qmp-spec.rst of QEMU; one JSON object per line.
"""

from __future__ import annotations

import json
import re
import socket
from typing import Any

from pageowner.errors import SourceError

_SECONDS = 10.0
_MOST_BYTES = 1 << 20
_TCP = re.compile(r"(?![/.])(?P<host>.*):(?P<port>[0-9]{1,5})")


class Qmp:
    """A connection; QEMU has greeted, and nothing has been read from it yet."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = _connect(address)

    def command(self, execute: str) -> Any:
        """Run one command, once capabilities are negotiated (drgn does that), and return its result."""
        try:
            self.socket.settimeout(_SECONDS)
            self.socket.sendall(json.dumps({"execute": execute}).encode() + b"\n")
            while True:
                answer = json.loads(self._line())
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    reason = answer["error"].get("desc", "no reason given")
                    raise SourceError(f"{self.address}: QEMU refuses '{execute}': {reason}")
        except (OSError, ValueError, AttributeError) as error:
            raise SourceError(f"{self.address}: QEMU does not answer '{execute}' ({error})") from error
        finally:
            self.socket.settimeout(None)

    def close(self) -> None:
        """Close our descriptor; the connection ends when drgn's is closed, too."""
        self.socket.close()

    def _line(self) -> bytes:
        # Byte by byte: what follows the line may be drgn's.
        line = b""
        while not line.endswith(b"\n") and len(line) < _MOST_BYTES:
            byte = self.socket.recv(1)
            if not byte:
                raise OSError("it closed the connection")
            line += byte
        return line


def _connect(address: str) -> socket.socket:
    tcp = _TCP.fullmatch(address)
    link = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(_SECONDS)
        link.connect((tcp["host"] or "localhost", int(tcp["port"])) if tcp else address)
        greeting = link.recv(1, socket.MSG_PEEK)
    except TimeoutError as error:
        link.close()
        raise SourceError(
            f"{address} accepts but does not greet: another program is connected to it; QEMU serves one "
            "at a time: close the other, or give QEMU a second '-qmp unix:PATH,server=on,wait=off'"
        ) from error
    except (OSError, OverflowError) as error:
        link.close()
        raise SourceError(f"cannot connect to {address}: {_reason(error)}") from error
    if greeting != b"{":
        link.close()
        raise SourceError(f"{address} is no QMP socket; start QEMU with '-qmp unix:PATH,server=on,wait=off'")
    link.settimeout(None)
    return link


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    hint = "; is QEMU running, with '-qmp unix:PATH,server=on,wait=off'?"
    if isinstance(error, PermissionError):
        hint = "; run as the user who started QEMU, or as root"
    return f"{text}{hint}"
