# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts work instead of seconds: calls of Python and C functions, and reads of the target."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from pageowner.kernel.target import Kernel


class Work:
    """What a block does: ``calls`` that Python code makes, ``reads`` of *kernel* and their ``bytes``."""

    def __init__(self, kernel: Kernel | None = None) -> None:
        self.calls = self.reads = self.bytes = 0
        self._kernel = kernel

    def __enter__(self) -> Work:
        if self._kernel is not None:
            self._kernel.read_log = self._read
        sys.setprofile(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        if self._kernel is not None:
            self._kernel.read_log = None

    def _call(self, _frame: FrameType, event: str, _argument: Any) -> None:
        self.calls += event in ("call", "c_call")

    def _read(self, _address: int, size: int, _physical: bool) -> None:
        self.reads += 1
        self.bytes += size
