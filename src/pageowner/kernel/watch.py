# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who looks on while memory is read: told how far it has got, asked whether to go on."""

from __future__ import annotations

from contextvars import ContextVar


class Watch:
    """Looks away. What shows progress or lets the user stop overrides both methods."""

    def at(self, stage: str, done: int, total: int) -> None:
        """*done* of *total* units of *stage* are read; *total* is an estimate where *done* may exceed it."""

    def stops(self) -> bool:
        """Whether no further section is to be read: what has been read is the result."""
        return False


LOOKING: ContextVar[Watch] = ContextVar("LOOKING", default=Watch())  # noqa: B039 (it has no state)
"""The watch of kernels that are opened from now on."""
