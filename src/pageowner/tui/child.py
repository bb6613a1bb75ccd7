# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process that opens sources and scans, so that the screen never waits and lives on when a scan dies.

A scan may be killed for want of memory, or stopped by the cap that reading the running kernel sets itself.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl

from pageowner.commands.policy import explain as error_line
from pageowner.escape import one_line
from pageowner.snapshot.rescan import Watched
from pageowner.tui.cost import cpu_seconds, resident
from pageowner.tui.protocol import Answer, Explain, FindPages, Opened, Request, Setup, Take

_NICE = 10


def main(descriptor: int) -> None:
    """Serve the other end of *descriptor*, a socket, until it is closed."""
    with Connection(descriptor) as link, suppress(EOFError, OSError):
        setup: Setup = link.recv()
        if not setup.ask:
            _leave_terminal()
        os.nice(max(0, _NICE - os.nice(0)))
        watched: list[Watched] = []
        link.send(_answer(lambda: _open(setup, watched)))
        _leave_terminal()
        while watched:
            request: Request = link.recv()
            link.send(_answer(lambda: _do(watched[0], request)))  # noqa: B023 -- called at once


def _open(setup: Setup, watched: list[Watched]) -> Opened:
    source = Watched(setup.selections, _layers(setup.layers))
    last = len(setup.selections) - 1
    live = source.open(last)  # those before it are opened when it is their turn
    watched.append(source)
    return Opened(live)


def _layers(paths: tuple[Path, ...]) -> tuple[Any, ...]:
    if not paths:
        return ()
    from pageowner.layers.thirdparty import load_layers

    return tuple(layer for path in paths for layer in load_layers(path))


def _do(watched: Watched, request: Request) -> object:
    match request:
        case Take(at, wanted):
            return watched.take(at, wanted)
        case FindPages(at, word, owner, stack, wanted):
            return watched.pages(at, word, owner, stack, wanted)
        case Explain(at, page, most_places):
            return watched.explain(at, page, most_places)


def _answer(work: Callable[[], object]) -> Answer:
    began = time.monotonic()
    value, error = None, None
    try:
        value = work()
    except (Exception, pl.exceptions.PanicException) as failure:
        # The last resort, as in commands.policy: whatever happens to a scan is a line on the screen.
        known = isinstance(failure, Exception)
        error = one_line(error_line(failure) if known else f"polars gave up ({failure})")
    return Answer(value, error, time.monotonic() - began, cpu_seconds(), resident())


def _leave_terminal() -> None:
    """From here on the terminal is the screen's: nothing that is read or said may go there."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


if __name__ == "__main__":
    main(int(sys.argv[1]))
